"""Body parts, what lies in what, and the words that speak of a part without naming it.

In: nothing. Out: tables, in words, read by `vocabulary`.
"""

from __future__ import annotations

ROOTS = """
hepat liver; nephr kidney; pyelo kidney; splen spleen; gastr stomach; colect colon; colitis colon
pancreat pancreas; cholecyst gallbladder; append appendix; hyster uterus; oophor ovary
prostat prostate; thyroid thyroid
encephal brain; cerebr brain; mening meninges; pneumon lung
bronch bronchus; pleur pleura; cardi heart; pericard pericardium; arthr joint; oste bone
tendin tendon; synov joint; spondyl spine; sinus sinus
mastoid mastoid; cholang bileduct; ureter ureter; laryng larynx
trache trachea; esophag esophagus; duoden duodenum; disc disc; vertebr spine
"""
"""What a Greek or Latin word begins with, and the body part that it speaks of."""

OPERATED = """
thyro thyroid; aden node; lamin lamina; hemilamin lamina; mast breast; crani skull; disc disc
menisc meniscus; adren adrenal; cyst bladder; orchi testis; thym thymus; lymphaden node
"""
"""The same for names of operations and of what is enlarged alone."""

IMPLIED = """
vessel: flow, aneurysm, thrombus, embolus, atherosclerosis
lung: pulmonarylobe, consolidation, pneumonia, emphysema, atelectasis, bronchiectasis
lung: honeycombing, lingula, groundglass
liver: hepatocellular, cirrhosis, hepatitis
appendix: appendicitis
gallbladder: cholecystitis, cholecystectomy
pancreas: pancreatitis
colon: diverticulosis, diverticulitis, colitis
kidney: hydronephrosis, pyelonephritis
ureter: hydroureter
bladder: cystitis
peritoneum: pneumoperitoneum, ascites, peritonitis
abdomen: pneumoperitoneum, ascites
pleura: pneumothorax, empyema
heart: cardiomyopathy
brain: hydrocephalus, encephalomalacia, encephalitis, microvascular, lacunar
ventricle: hydrocephalus
whitematter: microvascular
meninges: meningitis, meningioma
sinus: sinusitis
mastoid: mastoiditis
bone: fracture, osteopenia, osteoporosis, lytic, osteolytic, osteoblastic
spine: spondylosis, spondylolisthesis, scoliosis, lordosis, kyphosis, discitis, spondylolysis
disc: protrusion, extrusion, bulge
joint: effusion
uterus: hysterectomy, leiomyoma
ovary: oophorectomy
"""
"""Body parts of which a word speaks without naming them: `part: words`."""

PARTS = """
head: cranial >; brain: cerebral, cerebrum, intracranial, encephalon > head
hemisphere: hemispheric > brain; frontal > hemisphere; temporal > hemisphere
parietal > hemisphere; supratentorial > brain; tentorium > head; falx: falcine > head
occipital: occiput > hemisphere; externalcapsule > brain; internalcapsule > brain
lateralventricle > ventricle; temporalhorn > lateralventricle; frontalhorn > lateralventricle
occipitalhorn > lateralventricle; thirdventricle > ventricle; fourthventricle > ventricle
internalauditory > head; middleear > head; craniocervical > spine; insula: insular > brain
thalamus: thalamic, thalami > brain
pons: pontine > brainstem
basalganglia: putamen, caudate, lentiform, pallidus, lenticulostriate > brain
brainstem: midbrain, medulla, stem > brain; cerebellum: cerebellar > brain; posteriorfossa > head
callosum: splenium, callosal, callososeptal > brain; operculum > brain; peduncle > brain
pontis > brainstem; hippocampus: hippocampal > brain; cortex: cortical > brain
whitematter: centrum, corona, semiovale > hemisphere; periventricular > whitematter
subcortical > whitematter; juxtacortical > whitematter
ventricle: ventricular, intraventricular > brain heart; cistern: cisternal > brain
sulcus: sulci, sulcal > brain chest; midline > brain; extraaxial > head; subdural > extraaxial
epidural > extraaxial; subarachnoid > brain; sylvian > brain
meninges: meningeal, leptomeningeal, dura, dural > head; uncus: uncal > brain
pituitary: sella, sellar > head; chiasm > head; optic > head
skull: calvarium, calvarial, cranium > head bone; skullbase: clivus > head; mastoid > head
temporalbone > head; sinus > head; maxillarysinus > sinus; frontalsinus > sinus
ethmoidsinus > sinus; sphenoidsinus > sinus; nasal: nose > face
orbit: orbital, intraorbital, eye, ocular > head; globe > orbit; scalp > head; face: facial > head
maxilla: maxillary > face; mandible: mandibular > face; zygoma: zygomatic > face
tooth: teeth, dental, molar, incisor, canine, premolar, periapical > face
nasopharynx: nasopharyngeal > neck; oropharynx: oropharyngeal > neck
hypopharynx > neck; pharynx > neck; larynx: laryngeal, glottis, cord vocal > neck
epiglottis: epiglottic > neck; aryepiglottic > neck; glossoepiglottic > neck; vallecula > neck
tonguebase: tongue > neck; preepiglottic > neck; piriform > neck; tonsil: peritonsillar > neck
retropharyngeal > neck; parapharyngeal > neck; submental > neck; submandibular > salivary
parotid > salivary; salivary > neck; thyroid > neck; venoussinus > head; cavernous > head
cranialnerve > head
opticnerve > head; jugular > neck vein; carotid > neck artery; neck >; cricoid > neck
hyoid > neck; spine: spinal, vertebral, vertebra, vertebrae > bone; cervical > spine
thoracic > spine; lumbar > spine; sacral: sacrum > spine; disc: discal > spine
discosteophyte > disc; spinalcanal: canal > spine; foramen: foramina > spine
facet: apophyseal, zygapophyseal > spine joint; uncovertebral > spine; endplate > spine
pedicle > spine; lamina > spine; cord > spine; conus > cord; thecal > spine
nerveroot: radicular > spine; flavum > spine; recess > spine; dens: odontoid > spine
prevertebral > spine; paravertebral: paraspinal > spine; annulus: annular > disc; cauda > spine
chest: thorax, intrathoracic >; lung: pulmonary, pulmonic > chest
lungbase: bases, basal, basilar > lung; lungapex: apices > lung; lingula > lung
perifissural: fissure > lung; bronchus: bronchial, bronchi > lung airway
trachea: tracheal > chest airway
airway: tracheobronchial > chest; pleura: pleural > chest; mediastinum: mediastinal > chest
hilum: hilar, hila > chest; axilla: axillary > chest; paratracheal > mediastinum
subcarinal > mediastinum; heart: cardiac > chest; septum: septal, interventricular > heart
atrium: atrial > heart; myocardium: myocardial > heart; valve: valvular > heart
pericardium: pericardial > heart; coronary > heart artery; circumflex > coronary
pulmonaryartery > chest artery; aorta: aortic > artery; esophagus: esophageal, oesophagus > chest
diaphragm: diaphragmatic > chest; hiatal >; rib > chest bone; sternum: sternal > chest
clavicle > chest; breast > chest; supraclavicular > chest; subclavian > chest
abdomen: abdominal, intraabdominal >; liver: hepatic > abdomen
caudatelobe > liver; gallbladder > abdomen
bileduct > abdomen duct; duct: ductal >; portalvein > abdomen vein; hepaticvein > abdomen vein
spleen: splenic > abdomen; pancreas: pancreatic > abdomen; adrenal > abdomen
kidney: renal > abdomen; renalpelvis > kidney; renalartery > kidney artery
renalvein > kidney vein; ureter: ureteral, ureteric > abdomen; vesicoureteral > ureter
ureteropelvic > ureter; stomach: gastric > abdomen; duodenum: duodenal > abdomen
smallbowel: jejunum, jejunal, ileum, ileal > bowel; bowel: intestine, intestinal > abdomen
colon: colonic, colorectal > bowel; sigmoid > colon; cecum: cecal > colon; rectum: rectal > colon
rectosigmoid > colon; appendix: appendiceal > abdomen; testis: testicular > pelvis
thymus: thymic > mediastinum
 mesentery: mesenteric > abdomen
peritoneum: peritoneal, intraperitoneal > abdomen; retroperitoneum: retroperitoneal > abdomen
omentum: omental > abdomen; celiac > abdomen; psoas > abdomen; quadrant > abdomen
umbilical > abdomen; inguinal > pelvis; abdominalwall > abdomen; pelvis: pelvic >
bladder: vesical > pelvis; prostate: prostatic > pelvis; uterus: uterine > pelvis
endometrium: endometrial > uterus; ovary: ovarian > adnexa; adnexa: adnexal > pelvis
cervix > pelvis; vagina: vaginal > pelvis; fallopian: tubal > pelvis; gonadal > pelvis
iliac > pelvis; sacroiliac > pelvis; culdesac > pelvis; hip >; femur: femoral > leg bone
acetabulum: acetabular > hip; leg: extremity >; knee > leg; tibia: tibial > leg bone
fibula: fibular > leg; patella: patellar > knee; meniscus: meniscal > knee; cruciate > knee
collateral > knee; popliteal > knee; ankle > leg; foot > leg; condyle: condylar > knee
plateau > knee; shoulder > arm; supraspinatus > shoulder; infraspinatus > shoulder
subscapularis > shoulder; teres > shoulder; biceps > shoulder; labrum: labral >
acromion: acromial > shoulder; acromioclavicular > shoulder; subacromial > shoulder
humerus: humeral > arm; glenoid > shoulder; elbow > arm; wrist > arm; hand > arm
radius: radial > arm; ulna: ulnar > arm; arm >; scapula > shoulder
bone: osseous, bony, skeletal >; node: nodal >; softtissue >; bursa: bursal, bursae > joint
subcutaneous > softtissue; muscle: muscular >
skin: cutaneous >; vessel: vascular, vasculature >; artery: arterial > vessel
vein: venous > vessel; chestwall > chest; joint: articular >; carina > chest; tendon: tendinous >
ligament: ligamentous >; cartilage >; extensor >; femoralartery > leg artery; marrow > bone
gastrocnemius > leg muscle; patellofemoral > knee; rotatorcuff > shoulder; portahepatis > liver
pelvicalyceal > kidney; descendingcolon > colon; ascendingcolon > colon; transversecolon > colon
terminalileum > smallbowel; hepaticflexure > colon; splenicflexure > colon; gastricantrum > stomach
thoracicaorta > aorta; abdominalaorta > aorta; ascendingaorta > thoracicaorta
descendingaorta > thoracicaorta; paracolic > peritoneum
"""
"""Body parts: `part: other names > what it lies in`."""
