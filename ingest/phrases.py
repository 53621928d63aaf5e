"""Turns of phrase, compounds and abbreviations, and the words to read instead.

In: nothing. Out: a table in the form of `terms.REWRITTEN`, `old = new`, read by `vocabulary` with
stems, the longest phrase first. What comes out is words of `terms`, `synonyms` and `body_parts`.
Written for this project from the usual terms of CT and MR reports.
"""

from __future__ import annotations

REWRITTEN = """
airspace disease = consolidation; air space disease = consolidation
airspace opacity = consolidation; air space opacity = consolidation; lung opacity = opacity lung
pulmonary opacity = opacity lung; interstitial thickening = septum thickening
interlobular septal thickening = septum thickening; pulmonary edema = lung edema
vascular congestion = congestion; pulmonary congestion = congestion
cardiac enlargement = enlarged heart; enlarged cardiac = enlarged heart
heart enlargement = enlarged heart; left ventricular dilatation = enlarged ventricle
dilated ventricles = enlarged ventricle; aortic ectasia = enlarged aorta
dilated aorta = enlarged aorta; aortic dilatation = enlarged aorta
valve replacement = valve prosthesis; prosthetic valve = valve prosthesis
sternotomy = sternum post; median sternotomy = sternum post; sternal wire = sternum wire
pacemaker lead = pacemaker; hip prosthesis = hip arthroplasty; knee prosthesis = knee arthroplasty
hip replaced = hip arthroplasty; metallic hardware = hardware; orthopedic hardware = hardware
fixation hardware = hardware; surgical hardware = hardware; instrumentation = hardware
internal fixation = hardware; pedicle screw = hardware pedicle; spinal fusion = fusion spine
interbody fusion = fusion; kidney cyst = kidney cyst; renal cortical cyst = kidney cyst
cortical cyst = kidney cyst; renal atrophy = atrophy kidney; cortical thinning = atrophy cortex
shrunken = atrophy; small sized = atrophy; enlarged prostate = enlarged prostate
prostatic hypertrophy = enlarged prostate; prostatic hyperplasia = enlarged prostate hyperplasia
prostate enlargement = enlarged prostate; bladder outlet obstruction = obstruction bladder
thick walled = wall thickening; thickened wall = wall thickening
wall is thickened = wall thickening; pericolic fat = colon fat; mesenteric fat = mesentery fat
diverticular disease = diverticulosis; stool burden = stool; fecal loading = stool; feces = stool
faecal loading = stool; fecal retention = stool; constipation = stool
ventral hernia = abdominalwall hernia; abdominal wall hernia = abdominalwall hernia
incisional hernia = incision hernia; hiatal = hiatal; esophageal hiatus = hiatal
liver steatosis = fatty liver; hepatic fat = fatty liver; fatty replacement = fatty
fat replacement = fatty; lipomatosis = fatty; liver enlargement = enlarged liver
spleen enlargement = enlarged spleen; splenic enlargement = enlarged spleen
enlarged lymph = enlarged node; nodal enlargement = enlarged node
lymph node enlargement = enlarged node; pathologic lymph node = enlarged node
pathological lymph node = enlarged node; bulky node = enlarged node
cerebral volume loss = atrophy brain; brain volume loss = atrophy brain
parenchymal volume loss = atrophy brain; involutional change = atrophy brain; involution = atrophy
cortical atrophy = atrophy cortex; midline deviation = midline shift
subfalcine herniation = midline shift hernia; falcine herniation = midline shift hernia
ventricular dilatation = enlarged ventricle; ventricular enlargement = enlarged ventricle
ventricular prominence = enlarged ventricle; sulcal prominence = enlarged sulcus
sulcal widening = enlarged sulcus; widened sulci = enlarged sulcus; ventricular size = ventricle
cytotoxic edema = edema restricted; vasogenic edema = edema
intraparenchymal hemorrhage = intraparenchymal hemorrhage brain
parenchymal hemorrhage = intraparenchymal hemorrhage brain
intracerebral hemorrhage = intraparenchymal hemorrhage brain
brain hemorrhage = intracranial hemorrhage; intracranial bleed = intracranial hemorrhage
subdural bleed = subdural hemorrhage; extra axial = extraaxial; infarcted area = infarct
area of infarction = infarct; ischemic lesion = infarct; ischemic change = ischemia
ischemic injury = infarct; lacunar stroke = lacunar infarct
encephalomalacic change = encephalomalacia; gliotic = gliosis; glial scar = gliosis
occluded vessel = occlusion vessel; flow limiting = significant
hemodynamically significant = significant; luminal narrowing = narrowing
luminal stenosis = narrowing; vessel narrowing = narrowing
atherosclerotic plaque = atherosclerosis; calcified plaque = calcification atherosclerosis
plaque formation = atherosclerosis; atheroma = atherosclerosis; atheromatosis = atherosclerosis
vessel wall calcification = atherosclerosis calcification
vascular calcification = atherosclerosis calcification vessel
disc degeneration = disc degeneration; degenerative disc = disc degeneration
disc dehydration = disc desiccation; dehydrated = desiccation; dehydration = desiccation
loss of disc height = disc height defect; disc height reduction = disc height defect
disc space narrowing = disc height defect narrowing; reduced disc height = disc height defect
decreased disc height = disc height defect; annular rupture = annular tear
nerve compression = compression nerveroot; nerve impingement = compression nerveroot
nerve contact = nerveroot; vertebral fracture = spine fracture
collapsed vertebra = compression fracture; height loss = height defect
loss of height = height defect; reduced height = height defect; decreased height = height defect
joint degeneration = joint degeneration; degenerative joint disease = joint degeneration
bony spur = osteophyte; bone spur = osteophyte; osteophytic = osteophyte
osteophytosis = osteophyte; osteophyte formation = osteophyte; tendon tear = tendon tear
tendon rupture = tendon tear; ligament tear = ligament tear; ligament rupture = ligament tear
muscle wasting = atrophy muscle; muscle atrophy = atrophy muscle; wasting = atrophy
joint effusion = joint effusion; knee effusion = knee joint effusion; excess fluid = effusion
fluid distension = effusion; water = fluid; soft tissue swelling = softtissue swelling
soft tissue edema = softtissue edema; subcutaneous edema = subcutaneous edema
mucosal polyp = polyp; polypoid = polyp; inflammatory sinus = sinus inflammation
sinus opacification = sinus opacity; mastoid fluid = mastoid effusion
fluid in the mastoid = mastoid effusion; mastoid opacification = mastoid opacity effusion
pleural thickening = pleura thickening; tumor = mass; neoplasm = mass; growth = mass
malignant tumor = cancer; malignant neoplasm = cancer; malignant process = cancer
malignant disease = cancer; cancerous = cancer; metastatic disease = metastasis
metastatic spread = metastasis; secondary deposit = metastasis; deposits = metastasis
satellite lesion = satellite lesion; satellite nodule = satellite lesion; subcentimeter = small
sub centimeter = small; minute = small; diminutive = small; sizeable = large; sizable = large
considerable = marked; profound = severe; hefty = marked; substantial = marked; modest = mild
discreet = mild; faint = subtle; significant amount = large; gallstone disease = gallbladder stone
biliary calculi = bileduct stone; urinary stone = kidney stone; ureteral calculus = ureter stone
ureteric calculus = ureter stone; urinary obstruction = hydronephrosis
renal obstruction = hydronephrosis; obstructive uropathy = hydronephrosis
bowel dilatation = enlarged bowel; dilated bowel = enlarged bowel
bowel distension = enlarged bowel; bowel distention = enlarged bowel; collapsed lung = atelectasis
lung collapse = atelectasis; volume loss of lung = atelectasis; subsegmental = subsegmental
sinus tract = fistula tract; fistulous tract = fistula tract; osteonecrosis = avascular necrosis
decompressed = collapsed; aseptic necrosis = avascular necrosis; open ring = incomplete ring
demyelinating plaque = demyelination lesion
infratentorial plaque = posteriorfossa demyelination lesion
periventricular plaque = periventricular demyelination lesion
white matter plaque = whitematter demyelination lesion; ms plaque = demyelination lesion
cord plaque = cord demyelination lesion; multiple sclerosis = multiplesclerosis
subcutaneous emphysema = subcutaneous air emphysema
soft tissue emphysema = subcutaneous air emphysema
surgical emphysema = subcutaneous air emphysema; subcutaneous gas = subcutaneous air emphysema
soft tissue gas = subcutaneous air emphysema; creeping fat = fibrofatty proliferation
thinner = atrophy; extracapsular = extraprostatic; foley = catheter
urinary catheter = bladder catheter; humeral head = humerus; rotator cuff tendon = rotatorcuff
cuff tendon = rotatorcuff; medullary cavity = marrow; rv lv ratio = rvlvratio heart
rv to lv ratio = rvlvratio heart; right ventricular strain = right heart strain
rv strain = right heart strain; right ventricle strain = right heart strain
right heart strain = right heart strain; levoconvex curvature = left scoliosis
dextroconvex curvature = right scoliosis; levoscoliosis = left scoliosis
dextroscoliosis = right scoliosis; levocurvature = left scoliosis
dextrocurvature = right scoliosis; convex scoliosis = scoliosis; scoliosis convex = scoliosis
scoliotic curvature = scoliosis; leftward curvature = left scoliosis
rightward curvature = right scoliosis; left convex curvature = left scoliosis
right convex curvature = right scoliosis; levoconvex scoliosis = left scoliosis
dextroconvex scoliosis = right scoliosis; partially occlude = nonocclusive
partial occlusion = nonocclusive; partially occlusive = nonocclusive
partially occluded = nonocclusive; not occlusive = nonocclusive; non occlusive = nonocclusive
subocclusive = nonocclusive; aneurysm neck = aneurysm; neck of the aneurysm = aneurysm
intradiscal gas = vacuum disc; gas in the disc = vacuum disc; femoral neck = femurneck femur
neck of femur = femurneck femur; neck of the femur = femurneck femur; salivary gland = salivary
wisdom tooth = tooth; visualized portion = visible; lower molar = mandible molar
upper molar = maxilla molar; lower jaw = mandible; upper jaw = maxilla; jaw bone = mandible
cheekbone = zygoma; umbilical vein = paraumbilical vein
umbilical vein recanalization = paraumbilical vein recanalized; reopened = recanalized
transitional cell = urothelial; belly button = umbilical; pole of kidney = kidney pole
smv = superior mesenteric vein; imv = inferior mesenteric vein; ima = inferior mesenteric artery
sfa = superficial femoral artery; cfa = common femoral artery; cia = common iliac artery
eia = external iliac artery; iia = internal iliac artery
hypogastric artery = internal iliac artery; hypogastric = internal iliac
pda = posterior descending artery; gda = gastroduodenal artery; ijv = internal jugular vein
ij vein = internal jugular vein; celiac trunk = celiac artery; celiac axis = celiac artery
celiac = celiac artery; vb junction = vertebrobasilar junction; pv = portalvein
portal and superior = portalvein superior; portal venous = portalvein
portal and splenic vein = portalvein spleen vein; ge junction = gastroesophageal junction
gej = gastroesophageal junction; eg junction = gastroesophageal junction
esophagogastric = gastroesophageal; cavoatrial = vena cava atrium
infrarenal = infrarenal below renalartery; suprarenal aorta = aorta above renalartery
below the knee = belowknee; above the knee = aboveknee; above knee = aboveknee
below knee = belowknee; crural artery = tibia artery
superficial femoral = femoralartery superficial; common femoral = femoralartery common
hnp = disc hernia; ddd = disc degeneration; djd = joint degeneration; opll = ossified ligament
dish = hyperostosis; acdf = cervical fusion; tka = knee arthroplasty; tha = hip arthroplasty
total knee replacement = knee arthroplasty; total hip replacement = hip arthroplasty
knee replacement = knee arthroplasty; hip replacement = hip arthroplasty
joint replacement = joint arthroplasty; prosthetic joint = joint arthroplasty
ett = endotracheal tube; ngt = nasogastric tube; ng tube = nasogastric tube
og tube = orogastric tube; cvc = central venous catheter; central line = central venous catheter
picc line = picc; port a cath = port catheter; portacath = port catheter; chest tube = chestdrain
thoracostomy tube = chestdrain; pleural drain = chestdrain; ptx = pneumothorax
evar = endovascular aorta repair; icd = defibrillator; ppm = pacemaker
lvh = left ventricular hypertrophy; ipf = lung fibrosis; ards = ards
vp shunt = ventriculoperitoneal shunt; evd = ventricular drain
hydropneumothorax = pneumothorax pleural effusion
hemopneumothorax = pneumothorax pleural hemorrhage; hemopericardium = pericardial hemorrhage
hemarthrosis = joint effusion hemorrhage
lipohemarthrosis = joint effusion fat hemorrhage lipohemarthrosis
haemarthrosis = joint effusion hemorrhage; pneumopericardium = air pericardium
pneumatosis intestinalis = pneumatosis bowel; mucous plug = mucusplug; mucus plug = mucusplug
mucoid impaction = mucusplug; mucous plugging = mucusplug; mucus plugging = mucusplug
mucous impaction = mucusplug; mucus impaction = mucusplug; secretions = mucusplug
retained secretion = mucusplug; impacted mucus = mucusplug; plugging = mucusplug
bronchocele = mucusplug; cataract surgery = lensreplacement; lens replacement = lensreplacement
pseudophakia = lensreplacement; lens implant = lensreplacement; intraocular lens = lensreplacement
cataract extraction = lensreplacement; cataract removal = lensreplacement
lens extraction = lensreplacement; pseudophakic = lensreplacement; ethmoid air cell = ethmoidsinus
ethmoid aircell = ethmoidsinus; ethmoid = ethmoidsinus; ethmoidal = ethmoidsinus
maxillary antrum = maxillarysinus; maxillary antra = maxillarysinus; sphenoid = sphenoidsinus
sphenoidal = sphenoidsinus; carotid siphon = cavernous carotid
intracavernous carotid = cavernous carotid; white matter disease = whitematter microvascular
microvascular ischemic = microvascular; small vessel ischemic = microvascular
leukoaraiosis = whitematter microvascular; leucoaraiosis = whitematter microvascular
chronic ischemic change = microvascular; centrum semiovale = whitematter hemisphere
corona radiata = whitematter hemisphere; cerebral convexity = hemisphere
left convexity = left hemisphere; right convexity = right hemisphere
frontal convexity = frontal hemisphere; cerebral hemisphere = hemisphere brain
hemicranial = hemisphere; supratentorial = supratentorial brain; infratentorial = posteriorfossa
external capsule = externalcapsule brain; internal capsule = internalcapsule brain
temporal horn = temporalhorn ventricle; frontal horn = frontalhorn ventricle
occipital horn = occipitalhorn ventricle; lateral ventricle = lateralventricle ventricle
third ventricle = thirdventricle ventricle; fourth ventricle = fourthventricle ventricle
internal auditory = internalauditory; internal acoustic = internalauditory; iac = internalauditory
middle ear cavity = middleear; middle ear cavities = middleear; middle ear = middleear
tympanic cavity = middleear; mastoid air cell = mastoid; mastoid aircell = mastoid
skull fracture = skull fracture; calvarial = skull; gray white differentiation = graywhite
gray white matter = graywhite; corticomedullary differentiation = graywhite
cisterna magna = cistern; tentorial leaflet = tentorium; tentorial = tentorium
craniocervical = craniocervical; craniovertebral = craniocervical
cervicomedullary = craniocervical; cervicothoracic junction = #level:c7-t1
cervico thoracic junction = #level:c7-t1; thoracolumbar junction = #level:t12-l1
lumbosacral junction = #level:l5-s1; lumbosacral disc = #level:l5-s1; atlantoaxial = #level:c1-c2
facet joint = facet; zygapophyseal joint = facet; facet arthropathy = facet degeneration
uncovertebral joint = uncovertebral; uncinate = uncovertebral; paracentral = paracentral
spinal cord = cord; medullary cone = conus; conus medullaris = conus; cauda equina = cauda
exit foramen = foramen; exit foramina = foramen; neural exit foramen = foramen
vertebral body = vertebra; vertebral bodies = vertebra; vertebral corpus = vertebra
spinal alignment = alignment; vertebral alignment = alignment; flow signal = flow
slipped forward = spondylolisthesis; forward slip = spondylolisthesis
forward slippage = spondylolisthesis; anterior slippage = spondylolisthesis
anterior slip = spondylolisthesis; posterior slip = spondylolisthesis
tonsillar descent = tonsillar ectopia; tonsillar herniation = tonsillar hernia
tonsillar position = tonsillar; cord compression = cord compression
cord signal change = cord hyperintense; signal abnormality = hyperintense
abnormal signal = hyperintense; abnormally high signal = hyperintense
high t2 signal = hyperintense; t2 bright = hyperintense; t2 hyperintense = hyperintense
high t2 = hyperintense; increased t2 = hyperintense; t2 hyperintensity = hyperintense
t1 hyperintense = hyperintense; t2 flair hyperintensity = hyperintense
flair hyperintensity = hyperintense; bright = hyperintense; high signal intensity = hyperintense
increased signal intensity = hyperintense; increased t2 signal = hyperintense
elevated t2 signal = hyperintense; elevated signal = hyperintense
low signal intensity = hypointense; decreased signal intensity = hypointense
flair signal abnormality = hyperintense; flair signal = hyperintense; dark = hypointense
restricting diffusion = restricted diffusion; restrict diffusion = restricted diffusion
restricted water diffusion = restricted diffusion; diffusion restricting = restricted diffusion
reduced diffusivity = restricted diffusion; impeded diffusion = restricted diffusion
decreased diffusivity = restricted diffusion; diffusion restriction = restricted diffusion
cerebral blood volume = perfusion; rcbv = perfusion; cbv = perfusion; cbf = perfusion
hypodensity = hypodense; hypodensities = hypodense; low dense = hypodense
hypoattenuating = hypodense; hypoattenuating lesion = hypodense lesion
low attenuating = hypodense; lower density = hypodense; reduced density = hypodense
diminished attenuation = hypodense; lower attenuation = hypodense; hyperattenuating = hyperdense
hyperattenuation = hyperdense; hyperdensity = hyperdense; increased density = hyperdense
high attenuating = hyperdense; blood product = hemorrhage; blood products = hemorrhage
blood degradation product = hemorrhage; hemosiderin = hemorrhage; hemorrhagic product = hemorrhage
subdural collection = subdural collection; bone marrow = marrow; marrow signal = marrow
bone density = bone mineralization; bone mineral density = bone mineralization
mineralization = mineralization; bone demineralization = osteopenia
diminished bone density = osteopenia; reduced bone density = osteopenia
decreased bone density = osteopenia; low bone density = osteopenia; bone loss = osteopenia
decreased mineralization = osteopenia; cul de sac = culdesac; rectouterine pouch = culdesac
rectouterine space = culdesac; pouch of douglas = culdesac; posterior cul de sac = culdesac
uterine cavity = endometrium cavum; endometrial cavity = endometrium cavum
endometrial stripe = endometrium; endometrial canal = endometrium; womb lining = endometrium
uterine fundus = uterus fundus; uterine body = uterus corpus; uterine corpus = uterus corpus
uterine cervix = cervix; subserosal = subserosal; subserous = subserosal; myomatous = leiomyoma
fibroid uterus = uterus leiomyoma; chocolate cyst = endometrioma
rectosigmoid colon = rectosigmoid; pelvic floor = pelvicfloor; mural thickening = wall thickening
mural edema = wall edema; wall edema = wall thickening edema; mural = wall
parietal thickening = wall thickening; bowel wall = bowel wall; walled off = walledoff
loculated fluid = collection; fluid collection = collection; organized collection = collection
abdominopelvic = abdomen pelvis; paracolic gutter = paracolic peritoneum
free pelvic fluid = ascites pelvis; peritoneal fluid = ascites; intraperitoneal fluid = ascites
intraabdominal fluid = ascites; abdominal fluid = ascites; free intraperitoneal fluid = ascites
pelvic free fluid = ascites pelvis; free air = pneumoperitoneum
intraperitoneal air = pneumoperitoneum; intraabdominal air = pneumoperitoneum
free intraperitoneal air = pneumoperitoneum; extraluminal free air = pneumoperitoneum
pleural fluid = pleural effusion; pericardial fluid = pericardial effusion
joint fluid = joint effusion; fluid in the joint = joint effusion
intraarticular fluid = joint effusion; air fluid level = airfluidlevel
fluid level = airfluidlevel; fluid air level = airfluidlevel; gas fluid level = airfluidlevel
air fluid levels = airfluidlevel; fluid fluid level = fluidfluidlevel
renal collecting system = kidney pelvicalyceal; collecting system = pelvicalyceal kidney
pyelocaliectasis = hydronephrosis; pelviectasis = hydronephrosis; caliectasis = hydronephrosis
pelvocaliectasis = hydronephrosis; dilated collecting system = hydronephrosis
pelvicaliceal dilatation = hydronephrosis; pelvicalyceal dilatation = hydronephrosis
dilated ureter = hydroureter; ureteral dilatation = hydroureter; ureteric dilatation = hydroureter
renal stone = kidney stone; renal calculus = kidney stone; ureteral stone = ureter stone
bile stone = gallbladder stone; biliary stone = bileduct stone; common duct = common bileduct
main pancreatic duct = pancreas duct; choledochal = common bileduct; choledoch = common bileduct
choledochus = common bileduct; biliary dilatation = enlarged bileduct
biliary dilation = enlarged bileduct; portal hepatis = portahepatis; porta hepatis = portahepatis
liver hilum = portahepatis; fat stranding = stranding; fatty stranding = stranding
inflammatory stranding = stranding; inflammatory fat change = stranding; hazy fat = stranding
fat haziness = stranding; fat infiltration = stranding; soft tissue stranding = stranding
haziness = stranding; inflammatory change = inflammation; reactive = reactive
sigmoid colon = sigmoid; descending colon = descendingcolon colon
ascending colon = ascendingcolon colon; transverse colon = transversecolon colon
hepatic flexure = colon hepaticflexure; splenic flexure = colon splenicflexure
terminal ileum = terminalileum smallbowel; ileocecal = cecum terminalileum
gastric antrum = stomach gastricantrum; descending thoracic aorta = descendingaorta aorta
thoracic aorta = thoracicaorta aorta; ascending aorta = ascendingaorta aorta
descending aorta = descendingaorta aorta; abdominal aorta = abdominalaorta aorta abdomen
aortic arch = arch aorta; aortic root = root aorta; great vessel = vessel mediastinum
mediastinal vessel = vessel mediastinum; small bowel obstruction = smallbowel obstruction
sbo = smallbowel obstruction; central airway = airway; major airway = airway
large airway = airway; airway wall = bronchus wall; bronchial wall = bronchus wall
bronchial tree = bronchus; peribronchial = peribronchial bronchus
tracheal and bronchi = trachea bronchus; biapical = bilateral lungapex lung
biapical pleural = bilateral lungapex pleura; apices = lungapex; lung parenchyma = lung
pulmonary parenchyma = lung; pleuroparenchymal = pleura lung
pleuroparenchymal sequelae = pleura lung scar; sequelae = scar; sequela = scar
fibrotic band = scar; parenchymal band = scar; fibrotic change = fibrosis
ground glass = groundglass; ground glassy = groundglass; hazy opacity = groundglass opacity
mosaic attenuation = mosaicattenuation; mosaic perfusion = mosaicattenuation
air trapping = airtrapping; tree in bud = treeinbud; crazy paving = crazypaving
air bronchogram = airbronchogram; lap = enlarged node; laps = enlarged node
peribronchovascular = peribronchial bronchus; thickened septa = septum thickening
hiatal hernia = hiatal hernia; hiatus hernia = hiatal hernia; sliding hernia = hiatal hernia
cardiac size = heart; heart size = heart; cardiac chamber = heart chamber
three vessel = threevessel; triple vessel = threevessel; coronary arteries = coronary
coronary plaque = coronary atherosclerosis; coronary atherosclerotic = coronary atherosclerosis
surgical clip = clip; gallbladder surgically = gallbladder resection; has been removed = resection
surgically resected = resection; surgical absence = resection; removal of = resection
postcholecystectomy = cholecystectomy; posthysterectomy = hysterectomy
popliteal cyst = popliteal cyst; meniscal tear = meniscus tear; torn meniscus = meniscus tear
bucket handle = buckethandle; bone bruising = bone edema; osseous contusion = bone edema
marrow contusion = bone edema; subchondral edema = bone edema; marrow oedema = bone edema
cartilage loss = cartilage defect; chondral loss = cartilage defect
chondral defect = cartilage defect; cartilage thinning = cartilage defect
chondromalacia = cartilage defect; chondrosis = cartilage defect
chondral thinning = cartilage defect; chondral fissure = cartilage defect
full thickness = fullthickness; complete cartilage = fullthickness cartilage
partial thickness = partialthickness; loose body = loosebody; loose bodies = loosebody
intraarticular body = loosebody; osteochondral fragment = osteochondral loosebody
osteochondral body = osteochondral loosebody; medial head of gastrocnemius = gastrocnemius medial
patellofemoral compartment = patellofemoral; nondisplaced = nondisplaced
undisplaced = nondisplaced; non displaced = nondisplaced; not displaced = nondisplaced
minimally displaced = minimaldisplacement; hairline = linear; head of the femur = femur head
femoral head = femur head; humeral head = humerus head; avulsion fracture = avulsion fracture
rotator cuff = rotatorcuff; ac joint = acromioclavicular; fluid sensitive = fluidsensitive
long head = longhead; supraspinatus tendon = supraspinatus; pivot shift = pivotshift
growth plate = physis; joint line = jointline; joint space = jointspace; grown in size = increased
increased in size = increased; increase in size = increased; larger in size = increased
enlarged since = increased; has enlarged = increased; have enlarged = increased
interval growth = increased; interval enlargement = increased; interval increase = increased
interval progression = increased; newly appeared = new; interval development = new
newly developed = new; new interval = new; has developed = new; newly noted = new
newly seen = new; newly identified = new; interval appearance = new; interval decrease = decreased
decreased in size = decreased; decrease in size = decreased; smaller in size = decreased
interval reduction = decreased; has shrunk = decreased; no change = unchanged
not changed = unchanged; similar to prior = unchanged; as before = unchanged
similar in size = unchanged; without change = unchanged; similar in appearance = unchanged
unaltered = unchanged; upward = superior; upwards = superior; downward = inferior
downwards = inferior; caudally = inferior; caudal = inferior; cranially = superior
cephalad = superior; cranial to = superior to; dissecting along = extending along
dissect along = extending along; tracking along = extending along
dissecting into = extending into; fluid dissecting = fluid extending
to the right of midline = right paracentral; to the left of midline = left paracentral
right of the midline = right paracentral; left of the midline = left paracentral
right of midline = right paracentral; left of midline = left paracentral
dependent atelectasis = lungbase lung atelectasis; mucosal disease = mucosal thickening
mucosal swelling = mucosal thickening; mucosal change = mucosal thickening
sinus disease = sinus mucosal thickening; volume decreased = atrophy; decreased volume = atrophy
reduced volume = atrophy; diminished volume = atrophy; parenchymal loss = atrophy
"""
"""Abbreviations, compounds and turns of phrase, rewritten as those of `terms`."""
