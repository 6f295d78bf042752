"""The report of a case: safe whatever files say, small whatever their number, the same twice."""

import base64
import datetime as dt
import hashlib
import html.parser
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from PIL import Image

from counterproof.audit import report, report_layout, selection, thumbnails
from counterproof.audit.case import Case, Note, Source
from counterproof.audit.report import write_page, write_report
from counterproof.audit.verdict import decide
from counterproof.errors import UserError
from counterproof.findings import (
    Basis,
    Blob,
    Claim,
    FileInfo,
    Finding,
    Record,
    Relation,
    RunInfo,
    Severity,
    Status,
)
from counterproof.settings import Limits, Settings, load_settings
from counterproof.text import catalogue

RUN = RunInfo("0.1.0", "standard", {"labels": "1"}, {"official": "2026-09-30"}, "2026-11-23")
NOON = dt.datetime(2026, 11, 23, 12, 0)
LABEL = Finding(
    "labels",
    "label.iptc.source_type",
    Claim.SYNTHETIC,
    Basis.DECLARED,
    Severity.MEDIUM,
    details={"source_type": "trainedAlgorithmicMedia", "value": "trainedAlgorithmicMedia"},
)
EVIL = "</script></style><img src=x onerror=alert(1)>\"'`&lt;"


def settings(language: str = "en") -> Settings:
    return load_settings({"language": language})


def picture(path: Path, colour: str = "teal", size: tuple[int, int] = (60, 40)) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def record(sha256: str, *findings: Finding, **facts: object) -> Record:
    info = FileInfo("png", "image/png", 1234, 60, 40, 1, "RGB", 8)
    return Record("", sha256, info, dict(facts), findings, decide(findings), RUN)


def fill(case: Case, entries: Sequence[tuple[str, Record]]) -> None:
    case.begin_scan(RUN)
    for position, (path, item) in enumerate(entries):
        case.put_record(item, "", "print")
        source = Source(path, 1234, 1, 0, item.sha256)
        case.put_source(source, "print", position)
    case.commit()


@pytest.fixture(autouse=True)
def _views_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decode here: starting workers costs a second, and one test does so."""

    def make(
        wanted: Sequence[tuple[str, str]], size: thumbnails.Size, limits: Limits
    ) -> Iterator[thumbnails.View]:
        return (thumbnails._make(sha256, path, size, limits) for sha256, path in wanted)

    monkeypatch.setattr(thumbnails, "make", make)


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    with Case.open(tmp_path / "press.case", create=True) as opened:
        yield opened


def written(case: Case, language: str = "en") -> str:
    stream = io.BytesIO()
    write_report(case, stream, settings(language), made_at=NOON)
    return stream.getvalue().decode("utf-8")


class Reader(html.parser.HTMLParser):
    """Collects what a browser would act upon."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_what_a_file_says_never_becomes_markup(case: Case, tmp_path: Path) -> None:
    sha256 = picture(tmp_path / "a.png")
    hostile = Finding(
        EVIL,
        "trace.a1111",
        Claim.SYNTHETIC,
        Basis.DECLARED,
        Severity.MEDIUM,
        details={"generator": EVIL, "model": EVIL, EVIL: EVIL, "where": {"kind": EVIL}},
    )
    unknown = Finding(EVIL, "label.other.thing", details={"x": [EVIL, {EVIL: EVIL}]})
    facts = {"software": EVIL, "camera.make": EVIL, EVIL: EVIL, "captured_at": EVIL}
    name = f"{EVIL}\u202egpj.exe\n.png".replace("/", "_")
    fill(case, [(str(tmp_path / name), record(sha256, hostile, unknown, **facts))])
    case.add_note(Note(sha256, EVIL, EVIL, EVIL))
    case.add_note(Note("", EVIL, EVIL, EVIL))
    text = written(case)
    reader = Reader(text)
    tags = [tag for tag, _ in reader.tags]
    assert "img" not in tags
    assert tags.count("script") == 1
    assert tags.count("style") == 1
    assert not [name for _, attrs in reader.tags for name in attrs if name.startswith("on")]
    assert "\u202e" not in text
    assert "onerror=alert(1)" in "".join(reader.text)  # it is shown, as text


def test_nothing_is_asked_of_anywhere(case: Case, tmp_path: Path) -> None:
    fill(case, [(str(tmp_path / "a.png"), record(picture(tmp_path / "a.png"), LABEL))])
    text = written(case)
    (policy,) = [
        attrs["content"]
        for tag, attrs in Reader(text).tags
        if tag == "meta" and attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    for kind in ("style", "script"):
        (body,) = re.findall(rf"<{kind}>(.*?)</{kind}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    for tag, attrs in Reader(text).tags:
        assert "style" not in attrs, f"<{tag}> has a style that the policy blocks"
        for name in ("href", "src", "action", "xlink:href"):
            if (value := attrs.get(name)) is not None:
                assert value.startswith(("#", "data:image/")), value
    assert not re.search(r"https?://", text)


def test_every_link_leads_somewhere(case: Case, tmp_path: Path) -> None:
    twice = picture(tmp_path / "a.png")
    entries = [
        (str(tmp_path / "a.png"), record(twice, LABEL)),
        (str(tmp_path / "copy.png"), record(twice, LABEL)),
        (str(tmp_path / "b.png"), record(picture(tmp_path / "b.png", "red"))),
    ]
    fill(case, entries)
    tags = Reader(written(case)).tags
    ids = [attrs["id"] for _, attrs in tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    for _, attrs in tags:
        if (href := attrs.get("href") or "").startswith("#"):
            assert href[1:] in ids, href
        if label := attrs.get("aria-labelledby"):
            assert label in ids


def test_the_same_case_gives_the_same_bytes(case: Case, tmp_path: Path) -> None:
    fill(case, [(str(tmp_path / "a.png"), record(picture(tmp_path / "a.png"), LABEL))])
    first = written(case)
    assert written(case) == first
    stream = io.BytesIO()
    write_report(case, stream, settings(), made_at=NOON + dt.timedelta(days=1))
    lines = zip(first.splitlines(), stream.getvalue().decode().splitlines(), strict=True)
    assert len([1 for a, b in lines if a != b]) == 1


@pytest.mark.parametrize("language", ["en", "zh"])
def test_it_speaks_its_language(case: Case, tmp_path: Path, language: str) -> None:
    fill(case, [(str(tmp_path / "a.png"), record(picture(tmp_path / "a.png"), LABEL))])
    text = written(case, language)
    words = catalogue(language)
    assert ("html", {"lang": {"zh": "zh-Hans"}.get(language, language)}) in Reader(text).tags
    assert words.status("synthetic_declared")["says"] in text
    assert words.code("label.iptc.source_type")["means"] in text
    assert words.ui("method.title") in text


def test_views_are_kept_and_outlive_the_files(case: Case, tmp_path: Path) -> None:
    sha256 = picture(tmp_path / "a.png")
    fill(case, [(str(tmp_path / "a.png"), record(sha256, LABEL))])
    first = written(case)
    assert "data:image/webp;base64," in first
    assert case.blob(sha256, thumbnails.LARGE.name) is not None
    (tmp_path / "a.png").unlink()
    assert written(case) == first


def test_a_file_that_is_gone_or_changed_has_words_instead(case: Case, tmp_path: Path) -> None:
    gone, changed = picture(tmp_path / "gone.png"), picture(tmp_path / "changed.png", "red")
    entries = [
        (str(tmp_path / "gone.png"), record(gone, LABEL)),
        (str(tmp_path / "changed.png"), record(changed, LABEL)),
    ]
    fill(case, entries)
    (tmp_path / "gone.png").unlink()
    picture(tmp_path / "changed.png", "blue")
    text = written(case)
    words = catalogue("en")
    assert words.ui("view.gone") in text
    assert words.ui("view.changed") in text
    assert "data:image/webp" not in text


def test_views_are_made_in_workers_that_may_die(tmp_path: Path) -> None:
    from importlib import reload

    make = reload(thumbnails).make
    sha256 = picture(tmp_path / "a.png")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nnot a picture")
    bad = hashlib.sha256((tmp_path / "bad.png").read_bytes()).hexdigest()
    wanted = [(sha256, str(tmp_path / "a.png")), (bad, str(tmp_path / "bad.png"))]
    good, other = make(wanted, thumbnails.SMALL, Limits())
    assert good.blob is not None
    assert Image.open(io.BytesIO(good.blob.data)).size == (60, 40)
    assert (other.blob, other.problem) == (None, "unreadable")


def test_a_finding_is_explained_where_it_stands(case: Case, tmp_path: Path) -> None:
    region = Finding(
        "detector",
        "detector.synthetic",
        Claim.SYNTHETIC,
        Basis.STATISTICAL,
        Severity.MEDIUM,
        probability=0.9,
        regions=((1, 2, 30, 20),),
        evidence=("map.png", "huge.png", "page.html"),
        details={"false_positive_rate": {"value": 0.02, "n": 1200}},
    )
    sha256 = picture(tmp_path / "a.png")
    fill(case, [(str(tmp_path / "a.png"), record(sha256, region))])
    case.put_blob(sha256, Blob("map.png", "image/png", b"\x89PNG"))
    case.put_blob(sha256, Blob("huge.png", "image/png", b"\0" * 400_000))
    case.put_blob(sha256, Blob("page.html", "text/html", b"<script>"))
    text = written(case)
    words = catalogue("en")
    for part in ("means", "does_not_mean", "innocent"):
        assert words.code("detector.synthetic")[part] in text
    assert "about 20 would be flagged too" in text
    # the figures of models, with their n, are no statement on a picture
    text = re.sub(r'<table class="plainly measured">.*?</table>', "", text, flags=re.DOTALL)
    assert not re.search(r"\b9\d\s?%|0\.9\b", text)  # never a bare probability
    assert '<rect x="1" y="2" width="30" height="20"/>' in text
    assert text.count("data:image/png;base64,") == 1
    assert "data:text/html" not in text


def test_counts_and_relations_are_told(case: Case, tmp_path: Path) -> None:
    shas = [picture(tmp_path / f"{n}.png", colour) for n, colour in enumerate(("red", "blue"))]
    entries = [(str(tmp_path / f"{n}.png"), record(sha)) for n, sha in enumerate(shas)]
    fill(case, [*entries, ("c.png", record("c" * 64, LABEL))])
    case.replace_relations(
        "near",
        [Relation("near_duplicate", tuple(shas), "copy.near_duplicate", {"max_distance_bits": 12})],
    )
    text = written(case)
    words = catalogue("en")
    assert words.ui("report.plot.distances") in text
    assert words.ui("report.plot.bits", bits="9–16") in text
    assert words.ui("report.plot.bits", bits="17–24") not in text
    assert words.ui("hurry.synthetic", n=1) in text
    assert words.ui("hurry.no_evidence", n=2, number="2") in text
    assert text.count(words.ui("report.groups")) == 3  # of the case, and on each page
    assert ".bar .s-no_evidence{flex-grow:2}" in text


def test_colours_keep_their_meaning() -> None:
    assert set(report_layout.FAMILIES) == set(Status)
    assert set(report_layout.FAMILIES.values()) == {"contra", "model", "signed", "lead", "quiet"}
    assert report_layout.FAMILIES[Status.NO_EVIDENCE] == "quiet"
    for status in (Status.SYNTHETIC_SUSPECTED, Status.ALTERED_SUSPECTED):
        assert report_layout.FAMILIES[status] == "lead"
    icons = (report_layout._TEMPLATES / "icons.html").read_text("utf-8")
    drawn = {
        status: re.search(rf'id="i-{status}" [^>]*>(.*?)</symbol>', icons, re.DOTALL)
        for status in Status
    }
    shapes = [match.group(1) for match in drawn.values() if match]
    assert len(shapes) == len(set(shapes)) == len(Status)


def test_many_pictures_stay_small_and_say_what_was_left_out(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "_ROWS", 30)
    monkeypatch.setattr(selection, "_PAGES", 10)
    monkeypatch.setattr(report, "_TAIL_BYTES", 700)
    entries = [
        (f"folder/{n:04}.png", record(f"{n:064x}", *([LABEL] if n % 10 == 0 else [])))
        for n in range(200)
    ]
    fill(case, entries)
    text = written(case)
    assert text.count('<article class="picture"') == 10
    assert text.count("<tr data-s=") == 30
    assert text.count('<tr data-s="synthetic_declared"') == 20  # these come first
    listed = re.findall(r"^(?:<pre dir=\"auto\">)?(\d{4}\.png)$", text, re.MULTILINE)
    (left_out,) = re.findall(r"The names of (\d+) pictures are left out", text)
    assert len(listed) + int(left_out) == 170
    assert int(left_out) > 0
    assert "10 pictures have a page of their own here" in text


def test_pages_stop_at_their_share_of_bytes(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_layout, "_PAGES_BYTES", 30_000)
    fill(case, [(f"{n}.png", record(f"{n:064x}", LABEL)) for n in range(50)])
    text = written(case)
    pages = text.count('<article class="picture"')
    assert 1 < pages < 20
    ids = {attrs["id"] for _, attrs in Reader(text).tags if "id" in attrs}
    hrefs = re.findall(r'href="#(p-[^"]+)"', text)
    assert set(hrefs) <= ids


def test_an_empty_case_says_so(case: Case) -> None:
    case.begin_scan(RUN)
    assert catalogue("en").ui("hurry.empty") in written(case)


def test_a_full_disk_is_one_line(case: Case) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    fill(case, [("a.png", record("a" * 64))])
    with pytest.raises(UserError, match="/dev/full: cannot write: No space left on device"):
        write_report(case, "/dev/full", settings())


def test_the_page_of_one_picture_stands_alone(tmp_path: Path) -> None:
    sha256 = picture(tmp_path / "a.png")
    view = thumbnails._make(sha256, str(tmp_path / "a.png"), thumbnails.LARGE, Limits())
    write_page(record(sha256, LABEL), view, tmp_path / "a.html", settings(), made_at=NOON)
    text = (tmp_path / "a.html").read_text("utf-8")
    assert text.count('<article class="picture"') == 1
    assert "data:image/webp" in text
    assert 'id="table"' not in text
