"""Titles of a report's sections and what stands under them.

In: the words before a colon, or alone on a line. Out: its kind: findings and impressions are what a
model learns from; technique and history are not; administrative titles cover one line; names of
organs and of examinations are labels within a section. Vocabulary, not typography: an upper-case
word is no title because it is upper-case, and "Findings" is one however it is written.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache

from ingest.anatomy import NEUTRAL, is_anatomy_label, is_level
from ingest.common_words import words as word_set


class Kind(Enum):
    """What stands under a title."""

    FINDINGS = "findings"
    IMPRESSION = "impression"
    ADVICE = "advice"
    """Recommendations: kept, under their title."""
    TECHNIQUE = "technique"
    """How, when, with what, compared with what; also what was examined."""
    HISTORY = "history"
    LINE = "line"
    """Names, numbers, signatures: no more than its own line."""
    ANATOMY = "anatomy"
    LEVEL = "level"
    EXAM = "exam"
    """The name of an examination: CT ABDOMEN."""
    OTHER = "other"


SECTIONS = frozenset({Kind.FINDINGS, Kind.IMPRESSION, Kind.ADVICE, Kind.TECHNIQUE, Kind.HISTORY})
LABELS = frozenset({Kind.ANATOMY, Kind.LEVEL, Kind.EXAM})

FINDINGS = word_set(
    "finding findings discussion report reports result results description observation "
    "observations interpretation narrative befund befunde befundung ergebnis ergebnisse résultat "
    "résultats resultat resultats compte-rendu observación hallazgo hallazgos resultados informe "
    "bulgu bulgular bulguları rapor reperti reperto referto risultati bevinding bevindingen "
    "verslag achado achados relatório análise nález opis lelet fynd fund описание 所見 検査所見 "
    "画像所見 检查所见 影像所见 影像学所见 影像学表现 影像表现 检查表现 表现 소견 판독소견 판독 "
    "검사소견"
)
IMPRESSION = word_set(
    "impression impressions conclusion conclusions opinion summary assessment addendum addenda "
    "comment comments note nachtrag beurteilung bewertung zusammenfassung fazit synthèse "
    "conclusión conclusiones impresión sonuç sonuc izlenim yorum conclusione conclusioni "
    "conclusie beoordeling conclusão conclusao impressão wniosek wnioski závěr vélemény utlåtande "
    "konklusion заключение 診断 画像診断 結論 印象 まとめ 诊断意见 诊断印象 影像诊断 影像学诊断 "
    "诊断结论 结论 意见 诊断 결론 판독결과 진단 인상"
)
AMONG = word_set(
    "ct mr mri mra mrv cta hrct radiological radiologic radiology radiographic radiologist's "
    "imaging final preliminary overall diagnostic main key significant pertinent positive "
    "negative additional other incidental further relevant important detailed brief general by "
    "exam examination study scan technique recommendation recommendations advice plan as follows "
    "are is to on for with this no end begin begins 1 2 3 i ii recommendation(s) finding(s) "
    "impression(s) und et y e ve la el rendu compte diagnóstica diagnostica en"
)
"""Words that may stand beside them in a title."""

MODALITY = word_set(
    "ct cat mr mri mra mrv mrcp cta ctpa ctap mdct hrct pet pet-ct petct x-ray xray radiograph "
    "ultrasound us tomography angiography angiogram angio venography myelogram urogram urography "
    "enterography colonography kub irm scanner tdm tac rm bt"
)
ABOUT_EXAM = word_set(
    "with without w wo w/o w/wo w&wo contrast iv intravenous oral non noncontrast non-contrast "
    "unenhanced enhanced contrast-enhanced plain computed axial magnetic resonance imaging image "
    "scan scans series study examination exam emergency stat urgent routine low dose low-dose "
    "high high-resolution resolution thin section multislice multidetector helical spiral "
    "multiphase multiphasic phase triphasic dual protocol stone survey follow-up followup follow "
    "up screening limited complete reconstruction reconstructions reformat reformatted "
    "reformations 3d 2d two three view views pa ap lateral portable for trauma pre post "
    "gadolinium dynamic perfusion diffusion functional spectroscopy bilateral wand w/ to vertex "
    "mit ohne kontrastmittel nativ kontrast avec sans injection con sin contraste kontrastlı "
    "kontrastsız"
)
"""Words of the name of an examination that are neither its kind nor anatomy."""

TECHNIQUE = re.compile(
    r"(?:(?:ct|mri?|mdct|scan|imaging|exam|examination|study|pulse|acquisition) )?"
    r"(?:techniques?|protocol|procedures?(?: performed)?|parameters|sequences?|methods?)"
    r"|(?:exam(?:ination)?s?|stud(?:y|ies)|test|type of (?:exam(?:ination)?|study)|modality"
    r"|procedure)"
    r"(?: (?:type|description|performed|requested|title|name|ordered|code|quality|limitations?))?"
    r"|(?:image|study|diagnostic|technical) (?:quality|limitations?|factors)|quality|limitations?"
    r"|comparisons?(?: (?:exams?|stud(?:y|ies)|examinations?|imaging|films?|date|made|is made))?"
    r"|compar(?:ed|ison) (?:to|with)|(?:prior|previous|comparative) (?:exams?|stud(?:y|ies)|imaging"
    r"|examinations?|films?|reports?)|correlation"
    r"|(?:(?:iv|oral|rectal|intravenous|other) )*contrast(?: (?:agent|material|media|medium"
    r"|dose|type"
    r"|volume|administration|administered|used))?"
    r"|medications?(?: administered)?|premedication|sedation|an(?:a)?esthesia|complications?"
    r"|radiopharmaceutical|tracer|(?:radiation )?dose(?: report| length product)?|dlp|ctdi(?:vol)?"
    r"|radiation exposure|field strength|scanner|equipment|reconstructions?|post-?processing"
    r"|scan (?:range|area|date)|slice thickness|fasting(?: time)?|e?gfr|creatinine|blood glucose"
    # German, French, Spanish, Turkish, Italian, Dutch, Portuguese, Polish
    r"|(?:untersuchungs|ct-|mrt-)?technik|method(?:e|ik)|(?:art der )?untersuchung(?:en)?"
    r"|untersuchungsart|vergleich(?:suntersuchung(?:en)?)?|vor(?:aufnahmen?|untersuchung(?:en)?"
    r"|befunde?)|kontrastmittel(?:gabe)?|dosis|protokoll"
    r"|technique d.examen|technique d.acquisition|examens?(?: r.alis.)?|protocole|comparaison"
    r"|examens? ant.rieurs?|produit de contraste"
    r"|t.cnica|protocolo|estudio(?: realizado)?|comparaci.n|estudios? previos?|exploraci.n"
    r"|teknik|inceleme(?: tekni.i)?|tetkik|y.ntem|kar..la.t.rma|kontrast"
    r"|tecnica|esame|confronto|techniek|onderzoek|vergelijking|exame|m.todo|compara..o"
    r"|badanie|technika|metoda|por.wnanie"
    r"|検査(?:方法|部位|名|日|種別)?|撮影(?:方法|部位|条件)?|方法|比較|造影剤?|前回|対比"
    r"|检查(?:方法|部位|项目|技术|名称)|扫描(?:方法|技术|范围)?|比较|对比(?:剂)?|方法"
    r"|검사(?:명|방법|부위)?|비교",
    re.I,
)
HISTORY = re.compile(
    r"clinical(?: (?:history|information|info|indications?|data|details?|questions?|context"
    r"|background"
    r"|impression|diagnos[ie]s|summary|statement|presentation|symptoms?|problems?|concerns?|notes?"
    r"|features|hx|request|suspicion|findings|profile|scenario|setting)(?: .{0,60})?)?"
    r"|.{0,40}\bhistory(?: .{0,40})?|indications?(?: .{0,60})?"
    r"|reasons?(?: .{0,60})?|symptoms?|presenting .{0,40}|chief complaints?|complaints?"
    r"|(?:.{0,20} )?diagnos[ie]s(?: codes?)?|referral(?: .{0,40})?|question|request"
    r"|background|context"
    r"|hx|dx|pmh|hpi|rule out|surgery|age and sex|relevant (?:clinical )?(?:info\w*|data|details)"
    r"|klin(?:ik|\.|ische?r?)(?: .{0,60})?|(?:rechtfertigende )?indikation(?:en)?|fragestellung"
    r"|anamnese|vorgeschichte|diagnosen?|anforderung"
    r"|renseignements?(?: .{0,40})?|motif(?: .{0,40})?|ant.c.dents?(?: .{0,40})?"
    r"|contexte(?: .{0,40})?"
    r"|histoire(?: .{0,40})?|clinique|indication de l.examen"
    r"|indicaci.n(?:es)?(?: .{0,40})?|motivo(?: .{0,40})?|datos cl.nicos|antecedentes(?: .{0,40})?"
    r"|historia(?: .{0,40})?|informaci.n cl.nica|sospecha(?: .{0,40})?"
    r"|klinik(?: .{0,40})?|endikasyon|.yk.|.ikayet(?:i)?|.n ?tan.|anamnez"
    r"|quesito(?: .{0,40})?|indicazion[ei](?: .{0,40})?|anamnesi|notizie cliniche"
    r"|klinische gegevens|vraagstelling|indica..o(?: .{0,40})?|hist.ria(?: .{0,40})?|dados cl.nicos"
    r"|wskazania(?: .{0,40})?|rozpoznanie(?: .{0,40})?|dane kliniczne"
    r"|臨床.{0,10}|検査目的|依頼.{0,10}|主訴|病歴|既往歴|目的|临床.{0,10}|病史|主诉|检查目的"
    r"|임상.{0,10}|병력",
    re.I,
)
ADVICE = re.compile(
    r"(?:(?:follow-?up|further|imaging|management) )?(?:recommendations?|recommendation\(s\)|advice"
    r"|suggestions?)|follow-?up|empfehlung(?:en)?|procedere|prozedere|recommandations?"
    r"|conduite . tenir|recomendaci.n(?:es)?|.neri(?:ler)?|raccomandazioni|aanbeveling|建议"
    r"|推奨|권고",
    re.I,
)
LINE = re.compile(
    r"primary (?:interpreting|diagnostic|care|read).{0,40}|verifier(?: .{0,20})?|(?:exm|exam"
    r"|reported|verified) date|req phys|pat loc"
    r"|img loc|service"
    r"|(?:patient|pt)(?:'s)?(?: (?:name|id|no|number|location|age|sex|dob))?|name|surname|forename"
    r"|(?:date|place) of birth|birth ?date|d\.?o\.?b\.?|age|sex|gender|age/sex|mrn|mr ?#|ssn"
    r"|medical record.{0,20}|(?:accession|acc|order|visit|account|encounter|case|job|document"
    r"|report"
    r"|confirmation|hospital|nhs|study|exam|chart|file|ref|reference) ?(?:#|no\.?|number|id|uid)"
    r"|nhs|acc|accession|ref|(?:referring|requesting|ordering|referred|requested"
    r"|ordered)(?: .{0,40})?"
    r"|physicians?|attending(?: .{0,40})?|residents?(?: .{0,40})?|radiologists?(?: .{0,30})?"
    r"|consultants?(?: .{0,30})?|(?:reporting|reading|interpreting|dictating|signing) .{0,40}"
    r"|doctor"
    r"|technologist|radiographer|operator|assistants?|phone|tel(?:ephone)?|fax|e-?mail"
    r"|address|pager"
    r"|(?:exam|study|scan|report|service|dictation|transcription)? ?(?:date|time|datetime)"
    r"(?: (?:of|and|and time).{0,40})?|hospital|department|facility|institution|ward"
    r"|(?:electronically |digitally )?(?:e-?)?signed(?: .{0,40})?|electronic(?:ally)?(?: .{0,40})?"
    r"|e-?signature|signature(?: .{0,40})?|(?:dictated|transcribed|typed|reported|read|interpreted"
    r"|reviewed|verified|approved|authori[sz]ed|finali[sz]ed|validated|prepared|performed|checked"
    r"|co-?signed)(?: (?:by|on|at|date|datetime|and).{0,40})?|transcriptionist|dictation"
    r"|attestation"
    r"|dd|dt|cc|d|t|copies(?: to)?|copy(?: to)?|page|status|report status|insurance|billing.{0,20}"
    r"|(?:icd|cpt)(?:-?\d+)?(?: .{0,20})?|disclaimer|critical (?:results?|values?|communication)"
    r"(?: .{0,40})?|communications?(?: .{0,40})?|notification(?: .{0,40})?|notified(?: .{0,40})?"
    r"|results? (?:called|communicated|discussed).{0,40}|(?:provider|person) notified|read ?back"
    r"|patient(?:in)?|geb(?:\.|urtsdatum|oren(?: am)?)?|datum|untersuchungsdatum|arzt|.berweiser"
    r"|zuweiser|anschrift|nom|pr.nom|n.e? le|m.decin(?: .{0,30})?|docteur|nombre|paciente"
    r"|fecha(?: .{0,30})?"
    r"|edad|sexo|m.dico(?: .{0,30})?|hasta(?: ad.)?(?: .{0,20})?|tarih|doktor|ad.( soyad.)?|ya."
    r"|患者.{0,8}|氏名|年齢|性別|生年月日|検査日.{0,4}|読影医|報告医|依頼医|姓名|性别|年龄"
    r"|.{0,4}日期|.{0,4}医[师生]",
    re.I,
)
SIGNATURE = re.compile(
    r"(?:this report was )?(?:electronically |digitally )?(?:e-?)?(?:signed|dictated|transcribed"
    r"|typed"
    r"|reported|verified|approved|authori[sz]ed|finali[sz]ed|validated|co-?signed)(?: "
    r"electronically)?"
    r"(?: (?:by|on|at)\b.{0,60})?|(?:end of|final) report|page \d+(?: of \d+)?|primary "
    r"interpreting staff"
    r"|report status|signature",
    re.I,
)
"""Administrative lines that no colon marks as such."""
DECORATION = " \t*#_=~.|<>[]-\u2013\u2014"
SEPARATOR = re.compile(r"[\s/&,()+]+|(?<=\w)-(?=\s)")
MAX_TITLE = 70
MAX_WORDS = 9
MAX_BARE_WORDS = 5
"""Of a title without a colon."""


@lru_cache(maxsize=4096)
def kind_of(title: str) -> Kind:
    """What stands under a title.

    >>> [kind_of(title) for title in ("CT FINDINGS", "Reason for exam", "Lower thorax")]
    [<Kind.FINDINGS: 'findings'>, <Kind.HISTORY: 'history'>, <Kind.ANATOMY: 'anatomy'>]
    """
    title = " ".join(title.strip(DECORATION).split())
    words = [word for word in SEPARATOR.split(title.lower().replace("#", " ")) if word]
    if not words or len(title) > MAX_TITLE or len(words) > MAX_WORDS:
        return Kind.OTHER
    if is_level(title):
        return Kind.LEVEL
    if LINE.fullmatch(title):
        return Kind.LINE
    if _made_of(words, FINDINGS | IMPRESSION):
        return Kind.FINDINGS if any(word in FINDINGS for word in words) else Kind.IMPRESSION
    if ADVICE.fullmatch(title):
        return Kind.ADVICE
    if TECHNIQUE.fullmatch(title):
        return Kind.TECHNIQUE
    if HISTORY.fullmatch(title):
        return Kind.HISTORY
    if is_anatomy_label(title):
        return Kind.ANATOMY
    return Kind.EXAM if is_exam(title) else Kind.OTHER


def kind_of_line(line: str) -> Kind:
    """The same of a line without a colon, which is more often a sentence than a title."""
    line = line.strip(DECORATION)
    if SIGNATURE.fullmatch(line.rstrip(".")):
        return Kind.LINE
    if line.endswith(".") or len(line.split()) > MAX_BARE_WORDS:
        return Kind.OTHER
    kind = kind_of(line)
    return Kind.OTHER if kind is Kind.LINE else kind


def is_exam(title: str) -> bool:
    """Whether words are the name of an examination and nothing else: "CT HEAD WITHOUT CONTRAST"."""
    words = [w for w in SEPARATOR.split(title.lower().replace(".", " ").replace(":", " ")) if w]
    return any(word in MODALITY for word in words) and all(
        word in MODALITY
        or word in ABOUT_EXAM
        or word in NEUTRAL
        or word.isdigit()
        or is_anatomy_label(word)
        or word == "[date]"
        for word in words
    )


def _made_of(words: list[str], named: frozenset[str]) -> bool:
    """Whether one of `named` is there, and nothing that could not stand beside it in a title."""
    return any(word in named for word in words) and all(
        word in named
        or word in AMONG
        or word in NEUTRAL
        or word in MODALITY
        or word.isdigit()
        or is_anatomy_label(word)
        for word in words
    )
