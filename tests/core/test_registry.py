import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cgsurrogate.core import registry

WORD = st.from_regex(r"[a-z_][a-z_./]*", fullmatch=True).filter(
    lambda s: s not in ("true", "false", "nan", "inf", "infinity")
)
VALUE = st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False), WORD)


@settings(max_examples=25, deadline=None)
@given(name=st.from_regex(r"[a-z]+(\.py)?", fullmatch=True), options=st.dictionaries(WORD, VALUE, max_size=4))
def test_options_are_read_as_they_were_written(name, options):
    text = ",".join(f"{key}={value}" for key, value in options.items())
    assert registry.parse(f"{name}:{text}" if options else name) == (name, options)


def test_an_unknown_name_gets_a_hint():
    with pytest.raises(ValueError, match="did you mean 'backbone'"):
        registry.build("mappings", "bakbone", None)


def test_an_unknown_option_names_the_known_ones():
    with pytest.raises(ValueError, match="its options are"):
        registry.build("integrators", "baoab", None, None, 300.0, timestop=1)


def test_a_kind_from_a_users_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("class T: pass\ndef build(beads, answer=42):\n    t = T()\n    t.answer = answer\n    return t\n")
    built = registry.build("networks", str(path), None, answer=3)
    assert built.answer == 3
    assert built.spec == registry.Spec("networks", str(path), {"answer": 3})
    assert built.spec.build(None).answer == 3


def test_every_family_has_kinds():
    for family in registry.FAMILIES:
        assert registry.kinds(family)


def test_a_stored_name_of_a_python_file_is_run_only_if_the_user_names_it(tmp_path):
    ran, path = tmp_path / "ran", tmp_path / "other.py"
    path.write_text(f"open({str(ran)!r}, 'w')\ndef build(beads): return object()\n")
    for text in (str(path), f"{path}:key=1", "./other.py"):
        with pytest.raises(ValueError, match="--trust"):
            registry.stored(text, "model.json")
    assert not ran.exists()
    registry.trust(path)
    assert registry.stored(f"{path}:key=1", "model.json") == f"{path}:key=1"
    assert registry.stored("elsewhere/other.py", "model.json") == str(path), "it may have moved"
    assert registry.stored("residues:width=8", "model.json") == "residues:width=8"
    assert not ran.exists(), "to trust a file is not to run it"
