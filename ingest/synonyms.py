"""More of the vocabulary: what radiologists and models say for one another.

In: nothing. Out: tables in the form of `terms`: findings by family, what a paraphrase may say for
which findings although the two are not quite the same, and words that say nothing. `phrases` has
the compounds. Written for this project from the usual terms of CT and MR reports.
"""

from __future__ import annotations

FINDINGS = """
impaction: impacted
mucusplug: mucoid, mucous
sclerosis: sclerotic, osteosclerotic, osteosclerosis, blastic, osteoblastic
destructive: destruction, osteodestructive, osteodestruction
osteolytic: osteolysis, lytic, lysis, lucent
adhesion: tethering, tethered, adhesions, adherent
obliteration: obliterated
bowing: bowed
cancer: malignancies, carcinomas, bronchogenic, neoplasia
scar: cicatrix, cicatrization
herniation: herniating
avulsion: avulsed
adenomyosis: adenomyotic
spasm: spastic
straightening: straightened
aneurysm: aneurysmal, pseudoaneurysm, aneurysmatic
crowding: crowded
tortuosity: tortuous
flattening: flattened
indentation: indents, indent, indenting, indented
compression: compress, impinge, encroachment, encroaches, encroaching
stranding: stranded
hemorrhage: haemorrhagic, hemorrhages, bloody, rebleeding
nodule: nodules, micronodule, micronodules
"""
"""Findings by family; names that `terms` has as well gain members."""

BARE_FINDINGS = """
mosaicattenuation airtrapping treeinbud crazypaving airbronchogram airfluidlevel fluidfluidlevel
microvascular loosebody burst stress insufficiency colloid coiling adhesion pneumocephalus
"""
"""Findings that have no other name here."""

LIKE = """
swelling: enlarged, edema, effusion; enlarged: swelling, hypertrophy, hyperplasia, aneurysm, varix
enlarged: hydrocephalus, tortuosity, metastasis, growth; edema: swelling, inflammation, thickening
edema: stranding, contusion, sprain, infiltration, hyperintense; injury: sprain, strain, contusion
injury: tear, fracture, laceration, dislocation, avulsion
tear: sprain, disruption, avulsion, defect; tear: injury; disruption: tear
hernia: protrusion, extrusion, bulge; bulge: protrusion, hernia; protrusion: hernia, bulge
extrusion: hernia; impaction: mucusplug, obstruction; mucusplug: impaction
obstruction: occlusion, impaction, narrowing, mucusplug, compression
occlusion: thrombus, embolus, obstruction; narrowing: compression, effacement, atherosclerosis
narrowing: occlusion, obstruction, degeneration; effacement: compression, narrowing, obliteration
compression: effacement, flattening, indentation, deformity, narrowing, shift, contact
flattening: compression, deformity; indentation: compression, deformity, flattening
fracture: compression, avulsion
deformity: fracture, compression, flattening, indentation, collapse; obliteration: effacement
adhesion: obliteration, scar; thrombus: embolus, occlusion; embolus: thrombus; shift: compression
shift: spondylolisthesis, dislocation, subluxation, deformity
defect: tear, erosion, resection, ulcer
lesion: mass, nodule, cyst, granuloma, infarct, tear, hyperintense
lesion: hypodense, hyperdense, enhancement
mass: lesion, nodule, cancer, metastasis, glioma, tumor; cancer: mass, metastasis, lymphoma
nodule: granuloma, opacity, adenoma, lesion, mass; opacity: nodule, consolidation, groundglass
opacity: scar, fibrosis, pneumonia; groundglass: opacity
consolidation: pneumonia, opacity, atelectasis; air: vacuum, emphysema
demyelination: hyperintense; impaction: deformity, compression; bowing: flattening
flattening: bowing; inflammation: edema, stranding, infection, thickening
infection: inflammation, pneumonia, abscess; stranding: edema, inflammation, infiltration
infiltration: stranding, edema, invasion; invasion: infiltration
thickening: edema, inflammation, hypertrophy, scar, degeneration
hypertrophy: thickening, enlarged, degeneration; scar: fibrosis, atelectasis, opacity, thickening
fibrosis: scar; atrophy: hypoplasia, atelectasis, thinning
collection: effusion, hemorrhage, abscess; collection: cyst; effusion: collection
hemorrhage: hyperdense, collection, contusion
hypodense: infarct, ischemia, edema, fatty, cyst, microvascular; fatty: hypodense
hyperintense: edema, gliosis, microvascular, demyelination, infarct, ischemia, lesion, desiccation
hyperdense: hemorrhage, calcification; restricted: infarct; ischemia: infarct, microvascular
infarct: ischemia; microvascular: ischemia; enhancement: hyperdense; gliosis: encephalomalacia
atherosclerosis: calcification, narrowing
calcification: atherosclerosis, stone, sclerosis, granuloma
degeneration: osteophyte, narrowing, hypertrophy, sclerosis, desiccation, spondylosis, thickening
degeneration: bulge, defect, erosion; spondylosis: degeneration, osteophyte
osteophyte: spondylosis; sclerosis: osteoblastic, calcification; osteolytic: destructive, erosion
destructive: osteolytic; destructive: erosion, invasion; erosion: destructive, osteolytic
osteopenia: osteoporosis; osteoporosis: osteopenia
malalignment: straightening, spondylolisthesis, shift; straightening: lordosis
lordosis: straightening; leak: perforation; perforation: leak, disruption
dislocation: subluxation; subluxation: dislocation; cavitation: necrosis; necrosis: cavitation
process: lesion, thickening, mass, infection, inflammation
"""
"""What a paraphrase may say: `a: b, c`, a where the report has b or c; not the reverse."""

FILLER = """
place placed pointing points directed tip terminates terminating toward towards become becomes
became central centrally prominently predominantly global globally density densities cavities
cavity demonstrates depicts depicted displays displayed comprises comprise comprising consists
consisting accompanied accompanying accompanies affects affecting affected coexisting concomitant
occupies overlies overlying underlies lies lying sits sitting situated centered centred resides
residing runs running courses coursing passes passing supplies supplying feeding feeds serves
starts starting stops originates originated remains retained maintained persists persistent
persisting reflects reflecting reflect denotes denoting implies implying raises worrisome worry
diagnostic typical typically characteristic classic presumably presumed presumptive believed felt
thought deemed judged regarded question questionable query differential incipient early late
possibly conceivably perhaps residual widely well heavy heavily dense densely particularly chiefly
principally primarily largely essentially relatively somewhat fairly entire entirely whole
throughout totally wholly length width height thickness calibre caliber calibers bore outline
outlines border borders margin margins edge edges rim contours configuration morphology
architecture anatomy attenuation intensity signal signals t1 t2 flair stir weighted sequence
sequences sagittal axial coronal number quantity volume amounts volumes handful couple pair few
lots innumerable adequate adequately satisfactory expected usual natural ordinary regular
regularly visualised visualized imaged included examined evaluated field view partially coexist
beside besides next close closely adjoining abutting abuts contacts touching touches contact
further elsewhere apart otherwise remote alone single solitary isolated sole biopsy sampling
tissue warranted advised suggested needed urgent prompt correlation surveillance benign appearing
looking nonspecific incidental incidentally noticed note worthy previous earlier former latest
today newly now
"""
"""Verbs and qualifiers that a paraphrase may add or leave out."""
