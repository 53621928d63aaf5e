"""The vocabulary by which two wordings of one finding are told to be the same.

In: nothing. Out: tables, in words; `vocabulary` reads them with stems, so that plurals and
adjectives of what is here need no line of their own. A line `a: b, c` says that b and c mean a
`a < b` says that every a is a b. Body parts are in `body_parts`. Written for this project from the
usual terms of CT and MR reports.
"""

from __future__ import annotations

REWRITTEN = """
caudate lobe = caudatelobe; collarbone = clavicle; breastbone = sternum
surgically absent = resection; surgically removed = resection; been removed = resection
been resected = resection; compression deformity = compression fracture
wedge deformity = compression fracture; vertebral collapse = compression fracture
sdh = subdural hemorrhage; edh = epidural hemorrhage; sah = subarachnoid hemorrhage
ich = intracranial hemorrhage; ivh = intraventricular hemorrhage; extradural = epidural
microbleed = micro hemorrhage; microhemorrhage = micro hemorrhage; haemorrhage = hemorrhage
cva = infarct; mi = infarct; lacune = lacunar infarct; ischemic stroke = infarct
ischemic infarct = infarct; embolic stroke = infarct; pe = pulmonary embolus
dvt = deep vein thrombus; aaa = abdominal aorta aneurysm; ms = multiple sclerosis
nmo = neuromyelitis optica; hcc = hepatocellular carcinoma; rcc = kidney cell carcinoma
avn = avascular necrosis; uip = usual interstitial pneumonia; ggo = groundglass opacity
gbm = glioblastoma; avm = arteriovenous malformation; copd = chronic obstructive pulmonary disease
ild = interstitial lung disease; rul = right upper pulmonarylobe; rml = right middle pulmonarylobe
rll = right lower pulmonarylobe; lul = left upper pulmonarylobe; lll = left lower pulmonarylobe
lingular = lingula; upper lobe = upper pulmonarylobe; middle lobe = middle pulmonarylobe
lower lobe = lower pulmonarylobe; ruq = right upper quadrant; rlq = right lower quadrant
luq = left upper quadrant; llq = left lower quadrant; cbd = common bile duct
ivc = inferior vena cava; svc = superior vena cava; sma = superior mesenteric artery
lv = left ventricular; rv = right ventricular; la = left atrium; ra = right atrium
lad = left anterior descending artery; rca = right coronary artery; lcx = circumflex artery
lm = left main; lvef = left ventricular ejection fraction; mca = middle cerebral artery
aca = anterior cerebral artery; pca = posterior cerebral artery; ica = internal carotid artery
cca = common carotid artery; sca = superior cerebellar artery
pica = posterior inferior cerebellar artery; aica = anterior inferior cerebellar artery
acom = anterior communicating artery; pcom = posterior communicating artery
acl = anterior cruciate ligament; pcl = posterior cruciate ligament
mcl = medial collateral ligament; lcl = lateral collateral ligament
ac joint = acromioclavicular joint; tmj = temporomandibular joint; si joint = sacroiliac joint
vuj = vesicoureteral junction; uvj = vesicoureteral junction; upj = ureteropelvic junction
puj = ureteropelvic junction; vesicoureteric = vesicoureteral; ureterovesical = vesicoureteral
csf = cerebrospinal fluid; gi = gastrointestinal; gb = gallbladder; le = lower extremity
dwi = diffusion; adc = diffusion; ef = ejection fraction; swi = susceptibility
diffusion restriction = restricted diffusion; endoleak = endoluminal leak
mural thrombus = wall thrombus; hepatomegaly = enlarged liver; splenomegaly = enlarged spleen
cardiomegaly = enlarged heart; hepatosplenomegaly = enlarged liver enlarged spleen
nephromegaly = enlarged kidney; ventriculomegaly = enlarged ventricle
thyromegaly = enlarged thyroid; goiter = enlarged thyroid goiter; adenomegaly = enlarged node
lymphadenopathy = enlarged node; adenopathy = enlarged node; nodal disease = enlarged node
lymph node = node; lymphadenitis = enlarged node; cholelithiasis = gallbladder stone
gallstone = gallbladder stone; cholecystolithiasis = gallbladder stone
choledocholithiasis = bile duct stone; nephrolithiasis = kidney stone; urolithiasis = kidney stone
intrarenal stone = kidney stone; ureterolithiasis = ureter stone; phlebolith = phlebolith
hydroureteronephrosis = hydronephrosis hydroureter; hepatic steatosis = fatty liver
steatosis = fatty; fatty infiltration = fatty; fatty change = fatty; free gas = pneumoperitoneum
extraluminal air = pneumoperitoneum; extraluminal gas = pneumoperitoneum
pneumocephalus = intracranial air; free fluid = ascites; contrast extravasation = hemorrhage
active extravasation = hemorrhage; central stenosis = spinalcanal stenosis
canal stenosis = spinalcanal stenosis; tracheobronchial tree = airway; pars defect = spondylolysis
free air = pneumoperitoneum; pneumomediastinum = air mediastinum; pneumobilia = air bileduct
anasarca = edema anasarca; bph = benign prostate hyperplasia; chest wall = chestwall
spur = osteophyte; spurring = osteophyte; cabg = coronary bypass; silhouette = heart
cardiac silhouette = heart; mass effect = masseffect; space occupying lesion = mass
space occupying = mass; hemoperitoneum = free hemorrhage; air cell = aircell; end plate = endplate
paramedian = midline; hydrothorax = pleural effusion; hemothorax = pleural hemorrhage
hydropericardium = pericardial effusion; uterine fibroid = uterus leiomyoma; fibroid = leiomyoma
myoma = leiomyoma; hydrosalpinx = hydrosalpinx enlarged fallopian tube
baker cyst = popliteal cyst; retention cyst = retention cyst; hiatus = hiatal
pouch of douglas = cul de sac; voice box = larynx; womb = uterus; breastbone = sternum
fat containing = fat; sternum behind = substernal; retrosternal = behind sternum
main bronchi = mainstem bronchi; flow void = flow; filling defect = embolus
bone bruise = bone edema; bone marrow edema = bone edema; marrow edema = bone edema
bone contusion = bone edema; chondral = cartilage; disc space height = disc height
disc osteophyte = discosteophyte; disc osteophyte complex = discosteophyte
osteophyte disc complex = discosteophyte; disk osteophyte = discosteophyte
neural foramen = foramen; neural foramina = foramen; neuroforamen = foramen
neuroforamina = foramen; neuroforaminal = foramen; foraminal = foramen; neuroforamin = foramen
intervertebral foramen = foramen; central canal = spinalcanal; spinal canal = spinalcanal
vertebral canal = spinalcanal; thecal sac = thecal; nerve root = nerveroot; root = nerveroot
anterior cerebral = anteriorcerebral; annular fissure = annular tear
jugulodigastric = level 2 node; parapelvic = kidney; perinephric = perinephric kidney
pararenal = pararenal kidney; perirenal = perinephric kidney
pericholecystic = pericholecystic gallbladder; periappendiceal = periappendiceal appendix
peripancreatic = peripancreatic pancreas; intrahepatic = intrahepatic liver
extrahepatic = extrahepatic liver; periportal = periportal; infrahepatic = liver
pericolonic = colon; perihepatic = liver; perisplenic = spleen; renal artery = renalartery
renal vein = renalvein; renal pelvis = renalpelvis kidney; white matter = whitematter
gray white = graywhite; grey white = graywhite; gray and white = graywhite
small vessel = microvascular; microangiopathic = microvascular; microangiopathy = microvascular
pulmonary artery = pulmonaryartery; pulmonary arterial = pulmonaryartery
pulmonary trunk = pulmonaryartery; pulmonary embolism = pulmonaryartery embolus
pulmonary embolus = pulmonaryartery embolus; pulmonary hypertension = pulmonaryhypertension
portal hypertension = portalhypertension; coronary artery = coronary
main coronary artery = coronary main; portal vein = portalvein; hepatic vein = hepaticvein
hepatic artery = hepaticartery; bile duct = bileduct; biliary duct = bileduct; biliary = bileduct
biliary ductal = bileduct; biliary tree = bileduct; ductal dilatation = enlarged duct
ductal dilation = enlarged duct; pancreatic duct = pancreas duct; small bowel = smallbowel
large bowel = colon; bowel loop = bowel; common bile duct = common bileduct
urinary bladder = bladder; gall bladder = gallbladder; adrenal gland = adrenal
thyroid gland = thyroid; pituitary gland = pituitary; corpus callosum = callosum
basal ganglia = basalganglia; basal cistern = cistern; sylvian fissure = sylvian
posterior fossa = posteriorfossa; frontal sinus = frontalsinus
maxillary sinus = maxillarysinus; ethmoid sinus = ethmoidsinus
sphenoid sinus = sphenoidsinus; paranasal sinus = sinus
frontal sinuses = frontalsinus; venous sinus = venoussinus; dural sinus = venoussinus
dural venous sinus = venoussinus; cavernous sinus = cavernous; sacroiliac joint = sacroiliac
piriform sinus = piriform; pyriform sinus = piriform; temporal bone = temporalbone
cranial nerve = cranialnerve; nerve complex = cranialnerve; optic nerve = opticnerve
lung base = lungbase lung; bibasilar = bilateral lungbase lung; bibasal = bilateral lungbase lung
basilar atelectasis = lungbase lung atelectasis; basal atelectasis = lungbase lung atelectasis
lung apex = lungapex lung; lung apices = lungapex lung; apical = lungapex
basal pleural = lungbase lung pleura; tongue base = tonguebase; base of the tongue = tonguebase
skull base = skullbase; base of the skull = skullbase; soft tissue = softtissue
abdominal wall = abdominalwall; gallbladder wall = gallbladder wall; supra = above
umbilicus = umbilical; groin = inguinal; status post = post; s p = post



low attenuation = hypodense; low density = hypodense; decreased attenuation = hypodense
decreased density = hypodense; reduced attenuation = hypodense; lucency = hypodense
attenuation decreased = hypodense; decreased in attenuation = hypodense
hypoattenuation = hypodense; high attenuation = hyperdense; increased attenuation = hyperdense
high density = hyperdense; increased signal = hyperintense; high signal = hyperintense
bright signal = hyperintense; hyperintensity = hyperintense; low signal = hypointense
decreased signal = hypointense; t2 prolongation = hyperintense; fluid filled = fluid
filled with fluid = fluid; spared = not involved; age indeterminate = indeterminate
undergone = post; no longer seen = resolved; no longer visible = resolved
no longer present = resolved; no longer identified = resolved; no longer visualized = resolved
disk = disc; intervertebral disc = disc; tumour = tumor; oedema = edema; grey = gray
disc space = disc; interspace = disc
"""
"""Abbreviations and compounds, rewritten before anything else looks at the words."""

FINDINGS = """
hemorrhage: bleed, bleeding, hematoma, haematoma, blood, hemorrhagic
infarct: infarction, stroke
ischemia: ischaemia, ischemic, ischaemic
mass: tumor, neoplasm, neoplastic
cancer: carcinoma, malignancy, malignant, adenocarcinoma
lesion: observation, focus, foci
process: disease, pathology, complication
disruption: disrupted, discontinuous, discontinuity, broken, interrupted
defect: loss
cavitation: cavitary, cavity, cavitating
nodule: nodularity, nodular
cyst: cystic
metastasis: metastatic, metastases
glioma: glioblastoma, astrocytoma
effusion: fluid
stone: calculus, calculi, lithiasis
enlarged: patulous, enlargement, dilated, dilatation
enlarged: dilation, distended, distention, distension, widened
enlarged: ectasia, ectatic, prominent, prominence
narrowing: stenosis, stenotic, narrowed, stenoses, compromise
thickening: thickened, thick
atrophy: atrophic, atrophied, volume loss, loss of volume, thinning, involution
air: gas
opacity: opacification, opacities
consolidation: infiltrate, airspace
osteophyte: spurs
pneumonia: pneumonic, bronchopneumonia, pneumonitis
diverticulosis: diverticulum, diverticula
degeneration: degenerative, degenerated, arthrosis, osteoarthritis, arthropathy, arthritis
degeneration: osteoarthrosis
hernia: herniation, herniated, herniates
bulge: bulging, bulges
protrusion: protruding
extrusion: extruded
tear: torn, rupture, ruptured, tears
shift: shifted, deviation, deviated, deviates, displacement, displaced, displaces, retropulsion
shift: retropulsed
swelling: swollen
edema: oedema, edematous
thrombus: thrombosis, thrombosed, thrombotic, clot, thrombi
embolus: embolism, emboli, embolic
occlusion: occluded, occlusive
obstruction: obstructed, obstructing, obstructive
calcification: calcified, calcific, calcium
atherosclerosis: plaque, atherosclerotic, arteriosclerosis, arteriosclerotic, atheromatous
fibrosis: fibrotic
scar: scarring, cicatricial
atelectasis: atelectatic, collapse
inflammation: inflammatory, inflamed
enhancement: enhancing, enhance, enhances, hyperenhancing, hyperenhancement, hypervascular
demyelination: demyelinating
osteopenia: osteopenic, demineralization
osteoporosis: osteoporotic
spondylolisthesis: slippage, anterolisthesis, listhesis, retrolisthesis
compression: masseffect, compressing, compressed, compresses
compression: impingement, impinges, impinging, compressive
deformity: deformed
dislocation: dislocated
subluxation: subluxed, subluxated
malalignment: misalignment, malaligned
hypoplasia: hypoplastic
necrosis: necrotic
ulcer: ulceration, ulcerated
cirrhosis: cirrhotic
fatty: steatotic
varix: varices, variceal
dissection: dissected
infection: infectious, infected
invasion: invading, invades, invasive
infiltration: infiltrating, infiltrative
leak: leakage, extravasation
hypertrophy: hypertrophic
tendinopathy: tendinosis
resection: resected
lordosis: lordotic
kyphosis: kyphotic
injury: injured, trauma, traumatic
"""
BARE_FINDINGS = """
hydronephrosis hydroureter aneurysm pneumothorax abscess collection laceration contusion stranding
emphysema bronchiectasis honeycombing reticulation granuloma adenoma lipoma cyst ectopia
hydrocephalus encephalomalacia gliosis leiomyoma sprain strain osteophyte spondylosis malformation
hemangioma fistula perforation volvulus intussusception ileus impaction mucocele polyp sinusitis
empyema dermoid lipid schwannoma meningioma angiomyolipoma endometrioma phlebolith vacuum
desiccation spasm hyperemia hyperplasia dysplasia agenesis effacement restricted pneumonia ascites
lipohemarthrosis teratoma lymphoma leukemia myeloma sarcoma melanoma chiari syrinx tonsillar
hyperdense hypodense hyperintense hypointense groundglass pneumoperitoneum erosion
lytic blastic osteoblastic osteolytic destructive infiltrate fracture hemothorax goiter
"""
"""Findings that have no other name here."""
FINDING_ENDING = (
    r"(?:itis|osis|oma|omas|omata|emia|pathy|ectasis|megaly|cele|ectomy|iasis|plasia|penia|"
    r"rrhage|rrhagic|malacia|lysis|listhesis|rrhea|algia|plegia|ptosis|thorax|stenosis)$"
)
"""What a word ends in that names a disease or an operation in Greek."""

KINDS_OF = """
pneumonia < opacity; pneumonia < consolidation; cyst < lesion; nodule < lesion; mass < lesion
metastasis < lesion; cancer < mass; cancer < lesion; glioma < mass; glioma < lesion
adenoma < lesion; adenoma < nodule; abscess < collection; abscess < infection
pneumonia < infection; infection < inflammation; diverticulitis < inflammation
appendicitis < inflammation; pancreatitis < inflammation; cholecystitis < inflammation
infarct < ischemia; infarct < restricted
infarct < lesion; aneurysm < enlarged; hydronephrosis < enlarged
hydroureter < enlarged; hydrocephalus < enlarged; goiter < enlarged; protrusion < hernia
extrusion < hernia; protrusion < bulge; extrusion < bulge
subluxation < malalignment; dislocation < malalignment; spondylolisthesis < malalignment
thrombus < occlusion; embolus < thrombus; occlusion < narrowing; collection < effusion
abscess < effusion; fracture < lesion; hypodense < lesion; hyperdense < lesion
hyperintense < lesion; hypointense < lesion; opacity < lesion; metastasis < cancer
osteophyte < degeneration; spondylosis < degeneration; hypodense < cyst; necrosis < lesion
calcification < atherosclerosis; contusion < lesion; endometrioma < cyst; endometrioma < lesion
angiomyolipoma < lesion; hemangioma < lesion; meningioma < mass; schwannoma < mass
leiomyoma < mass; lymphoma < cancer; dermoid < lesion; angiomyolipoma < mass
atelectasis < opacity; collapse < opacity; compression < narrowing; effacement < compression
osteolytic < destructive; lytic < destructive; osteoblastic < lesion; destructive < lesion
granuloma < nodule; pneumoperitoneum < air; desiccation < degeneration; pneumothorax < air
consolidation < opacity; consolidation < inflammation; ascites < effusion; lesion < process
pneumatosis < air; demyelination < lesion; thrombus < embolus; hypoplasia < small; atrophy < small
perforation < leak; laceration < lesion
"""

OPPOSITES = """
side: left = left, lt, leftward, leftwards, leftsided
side: right = right, rt, rightward, rightwards, rightsided
side: both = bilateral, bilaterally, both, sides
height: upper = upper, superior, superiorly
height: middle = middle, mid
height: lower = lower, inferior, inferiorly
depth: front = anterior, anteriorly, ventral, ventrally
depth: back = posterior, posteriorly, dorsal, dorsally
width: medial = medial, medially
width: lateral = lateral, laterally
reach: proximal = proximal, proximally
reach: distal = distal, distally
degree: low = minimal, mild, mildly, slight, slightly, trace, tiny, minor, minimally, subtle
degree: low = small, little, punctate
degree: middling = moderate, moderately
degree: high = severe, severely, marked, markedly, advanced, extensive, massive, large, heavily
degree: high = pronounced
age: acute = acute, acutely, subacute
age: old = chronic, chronically, old, remote, longstanding
change: same = unchanged, stable, stably
change: other = changed
change: more = increased, increase, growth, growing, grew, grown, enlarging, worsened, progressed
change: more = progression, larger
change: less = decreased, decrease, reduced, smaller, improved, shrunk
change: new = new
"""
"""Axes on which two values exclude each other: `axis: value = words; value = words`."""

NORMAL = """
normal normally unremarkable intact clear patent preserved maintained satisfactory open aerated
pneumatized physiologic
"""
ABNORMAL = "abnormal abnormality abnormalities pathologic pathological"

FILLER = """
a an the of in on at to from for by with within into and or is are was were be been being has have
had this that these those there it its as than then so such which who where when while also most
more less least very rather quite about approximately around roughly up along through throughout
over under below above between both's during after before again other otherwise further additional
additionally any some several multiple many few numerous various single another evidence sign
signs seen see noted note identified identify present presence appear appears appearance appearing
visible visualized visualised demonstrated demonstrate demonstrates demonstrating detected
observed found show shows showing shown evident apparent appreciated exhibit exhibits reveal
reveals revealed measure measures measuring measured measurement size sized sizes diameter
dimension dimensions length long thick cm mm ml axis maximal maximum max approximate estimated
consistent compatible suggestive suggest suggests suggesting suspicious concerning represent
represents representing likely probable probably possible possibly may might could would suspected
suspicion keeping favor favors favored favoring indicating indicate indicates indicative due
related secondary associated association adjacent near surrounding surround surrounds involving
involve involves involved including include includes contain contains containing located lies lie
region area areas site level levels study exam examination image images imaging scan scans ct mri
mr series technique contrast patient patient's her his he she definite obvious significant
significantly appreciable substantial convincing gross grossly overall generally specific
specifically impression finding findings result results report conclusion given aside except well
however but although though recommend recommended recommendation correlation correlate advised
followup follow clinical clinically consider considered previous previously prior interval
currently current now here still remain remains remaining remainder only mainly mostly not no
without none nor neither never absent absence lack free negative resolved cannot can exclude
excluded ruled out sided side type form kind part portion aspect segment segmental lobe lobar pole
surface extending extends extend extension reaching reaches ending ends end begin begins beginning
occupies occupy limited assessment assessed evaluation evaluated incompletely completely partially
partly complete partial diffuse diffusely generalized generalised mixed focal scattered patchy
lymph gland glands body bodies space spaces system structures structure tissue tissues change
changes raising question gives did does do done made taken course caliber contour shape
configuration position positioned individual amount number total degree nature characterized
characterised characterization raise they them their open opened meters unclear uncertain etiology
origin cause caused arising arises arise arises's originate originating produce producing produces
form's larger greater smaller largest biggest smallest greatest prominent's dependent moderate's
active new's age appropriate old's status post history known underlying like unknown because onto
upon inside outside non without's territory distribution extent superimposed incidental
incidentally predominantly predominant predominance combined thickness arterially together
especially particularly abnormally pathologically whether
"""
"""Words that a paraphrase may add or leave out."""
