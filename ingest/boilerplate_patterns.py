"""Turns of phrase of reports that are not about what the images show.

In: nothing. Out: patterns for sentences in lower case without their full stop, by what they tell:
how the images were made, what they were compared with, why, whom it was told, who signed. Each asks
for the whole turn of phrase, not for a word of it.
"""

from __future__ import annotations

IMAGES = (
    r"(?:images?|imaging|slices?|sections?|scans?|scanning|ct|cta|mri?|mra|mdct|examinations?"
    r"|exams?"
    r"|study|studies|sequences?|reformats?|reconstructions?|reformations?|reformatting|views?"
    r"|series"
    r"|tomography|tomograms?|angiogra(?:m|phy)|acquisitions?|localizers?|radiographs?|protocol"
    r"|scoring|evaluation|post-?processing|projections?|perfusion|spectroscopy)"
)
MADE = (
    r"(?:performed|obtained|acquired|carried out|generated|reconstructed|reformatted|taken|done"
    r"|conducted|undertaken|utilized|employed|created|made available|sent|submitted|provided"
    r"|displayed|processed)"
)
AGENT = (
    r"(?:contrast|isovue|omnipaque|visipaque|optiray|ultravist|iohexol|iopamidol|iodixanol"
    r"|iopromide"
    r"|gadolinium|gadavist|gadobutrol|magnevist|dotarem|multihance|prohance|omniscan|eovist"
    r"|readicat"
    r"|gastrografin|barium|saline|nitroglycerin|metoprolol|buscopan|glucagon|regadenoson|adenosine"
    r"|fdg|lasix|furosemide|sedation|medication)"
)
STUDY = (
    r"(?:stud(?:y|ies)|exams?|examinations?|imaging|films?|scans?|cts?|mris?|radiographs?|images"
    r"|reports?|priors?|comparisons?|mammograms?|x-?rays?)"
)
DOCTOR = (
    r"(?:\b(?:dr|doctor|physician|clinician|surgeon|team|service|nurse|provider|referr\w+"
    r"|ordering|ed"
    r"|er|emergency|house officer|resident|pa|np|rn|office)\b|\[name\])"
)

TECHNIQUE = (
    rf"\b{IMAGES}\b.{{0,150}}\b(?:was|were|are|is|been)\b(?: \w+){{0,3}} {MADE}\b",
    (
        rf"\b{AGENT}\b.{{0,80}}\b(?:was|were)\b(?: \w+){{0,2}} (?:given|administered|used"
        rf"|utilized|"
        r"injected|instilled|employed|infused)\b"
    ),
    (
        rf"^(?!.*\b(?:enhanc|demonstrat|show|reveal|there|no\b|not\b|seen|leak|extravas))"
        rf".*\b(?:administration|injection|infusion|bolus|instillation) of\b.{{0,80}}\b(?:{AGENT}"
        rf"|\d+ "
        r"?(?:ml|cc))\b.{0,60}$"
    ),
    rf"\b\d+ ?(?:ml|cc|milliliters?|millilitres?|mg|milligrams?|mci|mbq)\b.{{0,40}}\b{AGENT}\b",
    rf"\b(?:received|(?:was|were) given|drank|ingested)\b.{{0,40}}\b{AGENT}\b",
    r"\b(?:was|were) administered\b",
    r"\bimages? (?:was|were) (?:\w+ )?(?:reviewed|viewed|interpreted|examined)\b",
    r"\bpremedicated\b|\bno immediate complications?\b",
    (
        r"\binformed consent\b|\btolerated the (?:procedure|exam\w*|study)\b"
        r"|\bpatient was (?:scanned|imaged|positioned|placed)\b"
    ),
    (
        r"\bautomated exposure control\b|\biterative reconstruction\b|\bdose[- ](?:reduction"
        r"|modulation"
        r"|length|optimi[sz]ation)\b|\b(?:dlp|ctdi(?:vol)?)\b|\bdose\b.{0,40}\bmgy\b"
        r"|\bmgy\b.{0,40}\b(?:cm|dose)\b"
        r"|\bradiation (?:dose|exposure)\b|\balara\b|\b(?:as low as reasonably achievable)\b"
    ),
    (
        r"^(?:multi-?planar|multi-?sequence|helical|spiral|axial|sagittal|coronal|sequential"
        r"|contiguous"
        r"|non-?contrast|post-?contrast|pre-?contrast|thin|transaxial|routine|standard|unenhanced)"
        rf"[^.]{{0,120}}\b(?:{IMAGES}|t1w?|t2w?|stir|flair|dwi"
        rf"|reconstruction)\b(?![^.]{{0,200}}\b(?:shows?"
        r"|demonstrates?|reveals?|is|are|normal|unremarkable|suggests?|no)\b)"
    ),
    r"\b(?:slice thickness|field of view|tesla (?:magnet|scanner|system))\b",
    (
        r"^(?:this|the) (?:examination|exam|study|scan) (?:was|is) (?:interpreted|reviewed|reported"
        r"|read"
        r"|ordered|requested)\b"
    ),
    (
        r"^(?:ct|mri?|magnetic resonance|computed tomograph\w+)[^.]{0,80} (?:dated|from|of) "
        r"(?:\[date\]|\d)[^.]{0,30}$"
    ),
)
LIMITATION = (
    (
        r"^(?:please note (?:that )?)?(?:the )?(?:\S+ ){0,4}(?:evaluation|assessment|examination"
        r"|exam"
        r"|study|technique|visualization|interpretation|sensitivity|detail)\b[^,;]{0,120}\b(?:is"
        r"|are"
        r"|was"
        r"|were) (?:\w+ )?(?:limited|suboptimal|degraded|secondary to|compromised"
        r"|hampered)\b[^,;]{0,120}$"
    ),
    (
        r"\b(?:technique|artifacts?|lack of (?:\w+ )?contrast|absence of (?:\w+ )?contrast"
        r"|motion)\b"
        r"[^,;]{0,30}\b(?:limits?|degrades?|reduces?|precludes?|compromises?) (?:the )?(?:\w+ )?"
        r"(?:evaluation|assessment|visualization|sensitivity|detail|interpretation)\b[^,;]{0,120}$"
    ),
    r"\bcould not be (?:evaluated|assessed|performed|examined) optimally\b",
    r"\b(?:cannot|could not|can not) be optimally (?:evaluated|assessed)\b",
)
COMPARISON = (
    (
        r"^(?:the |direct |no direct )?(?:comparison|correlation)s?\b[^.]{0,60}\b(?:is|was|are|were"
        r"|has been)"
        r" (?:also )?(?:made|performed|evaluated|done|available)\b"
    ),
    (
        rf"^(?:there (?:is|are|was|were) )?(?:no|none|not any) (?:\w+ ){{0,3}}{STUDY}\b"
        rf"(?: \S+){{0,4}}"
        r"(?: (?:available|for comparison|provided|on file))[^.]{0,40}$"
    ),
    rf"^there (?:is|are|were|was) no (?:prior |previous )?comparison {STUDY}",
    rf"^no (?:prior|previous|comparison) {STUDY}[^.]{{0,20}}$",
    (
        rf"^(?:in )?compar(?:ed|ison) (?:to|with)(?: the)?(?: [^\s,]+){{0,8}} {STUDY}(?: "
        rf"[^\s,]+){{0,6}}$"
    ),
    r"^no comparisons?$|^unless otherwise (?:specified|stated|noted)\b",
    rf"^comparison {STUDY}\b[^,]{{0,40}}$",
    rf"\bprior {STUDY} (?:is |are |was |were )?(?:un|not )available\b",
    rf"^(?:none|none available|no priors?|not available|n/a|{STUDY} (?:dated|from|of) \S+)\.?$",
    rf"^the {STUDY} (?:is|was|are|were) compared (?:to|with)\b[^,]{{0,80}}$",
)
HISTORY = (
    (
        r"^(?:(?:the |this )?(?:patient|pt\.?) (?:is|was) )?(?:an? |the )?\[?\d{1,3}\]?[ -](?:year"
        r"|yr|month"
        r"|week|day)s?[ -]old\b"
    ),
    r"^(?:an? )?\[age\]",
    r"^\d{1,3} ?(?:y/?o|yo|yr|f|m)\b",
    (
        r"^(?:the |this )?(?:patient|pt\.?) (?:is an? (?!\w+ post)|presents?|presented|has a "
        r"(?:known )?"
        r"history|complains|reports|was referred|was admitted|who)\b"
    ),
)
INDICATION = (
    r"^(?:clinical )?(?:history|h/o|hx)\b(?: of\b|:)",
    (
        r"^(?:known case of|evaluate for|evaluation for|rule out|r/o|assess for|please evaluate"
        r"|question of"
        r"|concern for|suspected|clinical concern)\b"
    ),
)
"""Why the images were made; under a title of findings the same words say what they show."""
COMMUNICATION = (
    (
        r"\b(?:dictated|transcribed|electronically (?:signed|authenticated|approved)|e-?signed"
        r"|digitally"
        r" signed)\b"
    ),
    (
        r"^(?:addendum )?(?:signed|approved|verified|authenticated|finali[sz]ed|reported|reviewed"
        r"|interpreted|read"
        r"|reporting|prepared|authori[sz]ed|validated)\b(?: \w+)? ?(?:by|on|electronically"
        r"|datetime|:)"
    ),
    (
        rf"\b(?:discussed|reviewed|communicated|conveyed|relayed|reported|called|telephoned|phoned"
        rf"|faxed"
        rf"|paged|given|transmitted|informed|notified|shared)\b[^.]{{0,60}}\b(?:with|to"
        rf"|by)\b[^.]{{0,40}}"
        rf"{DOCTOR}"
    ),
    (
        rf"{DOCTOR}\.?[^.]{{0,60}}\b(?:was|were|is|has been|have been) (?:\w+ )?(?:notified"
        rf"|informed"
        r"|called|paged|contacted|telephoned|made aware|advised of|alerted)\b"
    ),
    (
        r"\b(?:findings?|results?|report|impression|this)\b[^.]{0,60}\b(?:was|were|will be|has been"
        r"|have"
        r" been) (?:\w+ )?(?:discussed|communicated|conveyed|relayed|called|telephoned|phoned|faxed"
        r"|mailed"
        r"|emailed|sent|paged|posted|transmitted)\b"
    ),
    (
        r"\b(?:by|via|over the) (?:telephone|phone)\b|\btelephone (?:call|report|conversation)\b"
        r"|\bread[- ]?back\b|\backnowledged (?:receipt|understanding)\b|\bverbal(?:ly)? (?:report"
        r"|commun"
        r"|inform)"
    ),
    (
        r"\b(?:i|we) (?:have )?(?:personally |independently |also )?(?:reviewed|examined"
        r"|interpreted|"
        r"supervised|discussed|spoke|called|notified|informed|agree|concur)\b.{0,80}\b(?:images?"
        r"|report"
        r"|findings|study|resident|interpretation|above|dr|team|with)\b"
    ),
    r"^i,? .{0,60}\bha(?:ve|s) (?:personally |independently )?(?:reviewed|examined)\b",
    (
        r"\b(?:preliminary|wet) (?:report|read(?:ing)?|interpretation)\b.{0,60}\b(?:was|were"
        r"|provided|given)\b"
    ),
    r"\bteaching physician\b|\battending (?:radiologist|physician|review|addendum|note)\b",
    r"\bpending (?:\w+ )?(?:review|approval|read|verification|signature)\b",
    (
        r"\bthank you for\b|\bthanks for\b|\bdo not hesitate\b|\bplease (?:contact|call)\b|\bif "
        r"(?:you have"
        r"|there are) (?:any )?questions\b"
    ),
    (
        r"\bvoice[- ]recognition\b|\bspeech[- ]recognition\b|\bdictation (?:software|system)\b"
        r"|\btranscription(?:al)? errors?\b|\btypographical errors?\b|\bsound-?alike\b"
        r"|\bthis (?:report|document|message|fax|dictation)\b.{0,80}\b(?:confidential|generated"
        r"|created|"
        r"prepared|signed|intended|privileged|finali[sz]ed|preliminary|dictated|contains?|may "
        r"contain)\b"
    ),
    (
        r"\b(?:end of|preliminary|final|addended|amended) (?:the )?(?:report|addendum|impression"
        r"|dictation)"
        r"\W{0,4}$"
    ),
    (
        r"^(?:please )?(?:see|refer to)\b (?:the )?(?:full |above|below|findings|impression|body"
        r"|report"
        r"|separate|separately|dictated|addendum|discussion)[^.]{0,60}$"
    ),
    (
        r"^(?:as (?:above|described above|stated above|noted above|described|per above)|see "
        r"(?:above"
        r"|below"
        r"|impression|findings)|please see (?:above|report above|report)|same as above|above)\W*$"
    ),
    r"^page \d+(?: of \d+)?\W*$",
    (
        r"\bcritical (?:result|value|finding)s? (?:were |was |communicated|notification|reporting"
        r"|called)"
    ),
    (
        r"^(?:mit freundlichen|mfg|freundliche gr|kollegiale gr|cordialement|bien cordialement|"
        r"confraternellement|atentamente|saludos|saygılar|met vriendelijke|cordiali saluti"
        r"|atenciosamente"
        r"|kind regards|best regards|regards|sincerely|yours)"
    ),
    (
        r"^(?:dr|prof|priv)[. -]{1,2}(?:(?:dr|med|habil|univ|prof"
        r"|univ-prof)\.?[ -]?){0,3}(?:\[name\]|[a-z]"
        r"[\w.-]*\s?){1,4}(?:,.{0,40})?\W*$"
    ),
    (
        r"(?:^|[ ,])(?:m\.?d|d\.?o|frcr|mbbs|mbchb|frcpc|franzcr|ph\.?d|fachar(?:zt|ztin)[^.]{0,30}"
        r"|(?:consultant|staff|attending|board[- ]certified|specialist)? ?(?:neuro-?)?radiologist"
        r"|radiologue|radi.logo|radyoloji uzman.|gmc(?: no)?[ .:\d]*)"
        r"(?:[ ,]{1,2}(?:\[date\]|\[\w+\]|[\d/:. -]{1,20}|[ap]m|at|on|\([^)]{0,30}\)))*\W*$"
    ),
    (
        r"^\W*(?:(?:\[[a-z]{2,12}\]|\d[\d:/.-]*|[ap]m|hrs?|at|on)"
        r"\W*){1,8}$"
    ),
)
INSTRUCTION = (
    (
        r"\b(?:ignore|disregard|forget)\b[^.]{0,30}\b(?:previous|prior|above|earlier|all"
        r"|any)\b[^.]{0,30}"
        r"\b(?:instructions?|prompts?|rules|text)\b"
    ),
    (
        r"\byou are (?:now|an? (?:ai|assistant|language model))\b|\bdeveloper mode\b"
        r"|\bsystem prompt\b"
        r"|\b(?:as|being) an? (?:ai|language model)\b|\breply only\b|\brespond only with\b"
    ),
)
"""Text addressed to a machine that reads the report: no finding whatever it says."""
