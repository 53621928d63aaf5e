"""Words that decide whether a name in a report is a name.

In: nothing. Out: sets of lower-case words. A patient called Small, Stone or Baker must not take
every "small", every stone and every Baker's cyst out of the text: words of `COMMON` are taken for
names only in company (a title, another part of the name, a capital in mid-sentence).
"""

from __future__ import annotations


def words(text: str) -> frozenset[str]:
    """The words of a text, as a set."""
    return frozenset(text.split())


TITLES = words(
    """
    do dr dra drs frau herr ii iii iv jr m.d mbbs md med miss mme mr mrs ms phd prof rn sr sra
    """
)
"""What stands around a name and is none."""

PARTICLES = words(
    """
    af al ben bin bint da de del della den der des di do dos du e el i ibn la le san santa st
    ten ter van vom von y zu zum zur
    """
)
"""Little words within names; alone they are words of a language."""

COMMON = words(
    """
    abdomen about acute age all am an and anon anonymised anonymized anonymous any april are
    area arm art as at attending august axial back bad base bay be bean bell best bill bird
    birth bishop black blank blood blue board bone book box brain branch breast brief bright
    broad brook brown burn bush but by can cardiology case center central centre cervical chance
    change charge chase chest chief child children childrens chin chip church city clay clear
    cliff clinic clinical close cloud code cold cole common community consultant contrast cook
    cord corner coronal cortex cough county course court cross crown ct cyst dark date daughter
    dawn day days dean december deep deidentified demo dental department deter development
    diagnostic dicom do doctor dose double down drain draw dry dye early east edge education
    elder emergency emery end english even ever exam examination fair faith fall far fast fat
    february fellow few field fields film find fine first fish flat floor flow fluid focus foot
    for ford forest form fox frank free french front full fuller gap gas gate gene general
    gentle german go gold good grace graft grand grant gray great green grey ground group grove
    growth guy hail hair hall hand hands hard hardy harm has hay hazel he head health heart
    heath held her here high hill him hip his hold hole home hood hope horn hospital hot house
    how human hunt hunter i ice if image images imaging in institute international
    interventional iris is it ivory ivy jack january joint joy july june just keen key kidney
    king klinik klinikum knee knot krankenhaus lab lake lamb lance land lane large last late
    lateral law lead leaf left leg less level lieu light like lily limb line link lip little
    liver lobe lock long loop loss love low lower lumbar lung main major man march mark marker
    marrow mass max may me mean medial medical medicine medium memorial mercy metal mild mills
    min miner minor mint mole moon more moss most mount mouth mr mri much muscle my nail name
    narrow national near neat neck nerve neurology neurosurgery new next nice night no noble
    node noise none noon norm normal north nose not note november now nuclear null number nurse
    oak october of off office old olive on once oncology one only operator or orange order organ
    orthopedics our out outside over own pace pack page pain pale palm park part past pat patch
    pathology patience patient peak pearl pediatrics peel pelvis penny pet phantom physician pin
    pine pipe pitt place plain plastic plate plaza pleasant point pole pond pool poor port post
    power pratt praxis present price prime print prior private probe protocol provider quick
    radiographer radiologist radiology rash rate raw ray reach read reader reading real red
    redacted reed regional removed report research resident rest rib ribs rice rich ridge right
    ring rise river road rob rock rod room root rose rough round routine row rows rule rush
    sagittal saint salt same sand sands sat scan scanner school scott sea seal second see self
    september series service set seven shade shaft shape sharp she shell shift shin ship short
    shoulder shown side sign silver since sinus site six size skin skull slice slight small
    smoke snow so soft some son song south spark spear spine spleen split spot spring square
    stack staff stage stand star start station steel stem step still stock stomach stone storm
    strain strand strange stream street strong study subject such summer sun super surgery sweet
    system table tail tall team technician technologist temple ten test the thick thin this
    thoracic thorax three tip to tract train tree trial true trunk trust tube twin two ty under
    unit universitaetsklinikum university unknown up upper urology us user vale van vein vessel
    veteran victor view violet volunteer wade wall walls ward warm was wash water waters wave
    way we weak wedge week weeks well wells west wet white whole wide will willow window wing
    winter wire wise with withheld without womens wood woods word work world worth wrist year
    years yes yet york you young your zone
    """
)
"""English and clinical words that are names as well, or that fill name and place elements."""

EPONYMS = words(
    """
    abrikossoff adamkiewicz addison alzheimer amplatz arnold aschoff baker balthazar bankart
    barrett bartholin basedow behcet billroth binswanger bochdalek boehler bohler bosniak
    bouchard bright broca buerger calve caroli chance charcot chiari chopart churg cloquet cobb
    colles crohn cushing dandy dejerine dobhoff duchenne ebstein ellison epstein ewing fallot
    fazekas fisher fleischner foley fournier freiberg galeazzi galen gamna ganz gleason graves
    grawitz haglund hartmann hashimoto heberden hickman hinchey hirschsprung hodgkin hoffa
    horner hounsfield huntington kaposi kellgren kerley kienbock kimura klatskin kohler
    krukenberg legg leigh lemierre lewy lhermitte lisfranc luschka maisonneuve mallory marfan
    marshall meckel meniere merkel meyerding mirels mirizzi modic monro monteggia morgagni
    morton mounier mueller muller murphy nissen onodi osgood paget pancoast parkinson perthes
    peyer peyronie pott ranke rathke raynaud reiter riedel riolan rokitansky rolando roux sachs
    salter schatzki scheuermann schmorl segond seldinger sjogren spitz stafne stieda sturge
    sylvius takayasu tarlov thornwaldt todani tornwaldt treitz trousseau valsalva vater vidian
    virchow warthin weber wegener weiss wernicke westermark whipple willis wilms wilson wolff
    zenker zollinger
    """
)
"""Names of signs and diseases: they stay where the thing follows them."""

EPONYM_THINGS = (
    r"(?:'s|s')?[ -](?:cyst|disease|syndrome|sign|malformation|i{1,3}\b|classification|grade|score|"
    r"tumou?r|node|nodes|fracture|lines?|units?|canal|duct|foramen|lymphoma|sarcoma|gangrene|"
    r"contracture|catheter|type|category|diverticulum|thyroiditis|encephalopathy|area|aneurysm|"
    r"change|changes|ulcer|esophagus|oesophagus|hernia|neuroma|deformity|fissure|aqueduct|cleft)"
)

GENERIC_PLACES = words(
    """
    a abteilung an and another associates at care center centre children childrens city clinic
    clinics college community county day department dept diagnostic diagnostics for from general
    gmbh group health healthcare hospital hospitals imaging in inc institute institution klinik
    klinikum krankenhaus llc local ltd medical memorial national no of other our outside praxis
    prior radiologie radiology regional saint school service services st system that the this to
    unit universitaet universitaetsklinikum university veterinary womens
    """
)
"""Words of an institution's name that many have."""

MONTHS = (
    "january february march april may june july august september october november december",
    "jan feb mar apr may jun jul aug sep oct nov dec",
    "januar februar marz april mai juni juli august september oktober november dezember",
    "janvier fevrier mars avril mai juin juillet aout septembre octobre novembre decembre",
    "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
    "januari februari maart april mei juni juli augustus september oktober november december",
)
"""Names of the months in order, without diacritics: English, short, German, French, Spanish,
Italian, Dutch."""


def month_names(month: int) -> list[str]:
    """All names of a month (1 to 12), the longest first.

    >>> month_names(3)[-1]
    'mar'
    """
    names = {line.split()[month - 1] for line in MONTHS}
    extra = {3: {"maerz"}, 9: {"sept"}}.get(month, set())
    return sorted(names | extra, key=lambda name: (-len(name), name))
