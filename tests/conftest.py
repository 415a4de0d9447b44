"""Small molecules and short synthetic trajectories that the tests share."""

import os
import signal
from pathlib import Path

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what it runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is there: many threads on small arrays are slower

import numpy as np
import pytest

DATA = Path(__file__).parent / "data"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """A notebook trains and simulates, so it is slow."""
    for item in items:
        if item.path.suffix == ".ipynb":
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def peptide_pdb() -> Path:
    """Ace-Ala5-NMe, 62 atoms."""
    return DATA / "ala5.pdb"


@pytest.fixture(scope="session")
def dipeptide_pdb() -> Path:
    """Ace-Ala-NMe, 22 atoms."""
    return DATA / "ala2.pdb"


@pytest.fixture(scope="module")
def short_preparation():
    """All-atom runs are heated for 0.4 ps only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cgsurrogate.data.generation.engine.HOT_PS", 0.4)
        yield


@pytest.fixture(scope="session")
def peptide(peptide_pdb):
    """An mdtraj trajectory of one frame of Ace-Ala5-NMe."""
    import mdtraj

    return mdtraj.load_pdb(str(peptide_pdb))


@pytest.fixture
def atoms(peptide) -> np.ndarray:
    """(40, 62, 3) nm: the peptide with every atom shaken a little."""
    rng = np.random.default_rng(1)
    return (peptide.xyz + rng.normal(0, 0.003, (40, peptide.n_atoms, 3))).astype(np.float32)


@pytest.fixture
def peptide_frames(peptide, atoms):
    """Backbone beads in two runs of 25 and 15 frames, 2 ps apart, with forces of springs to the first positions."""
    from cgsurrogate.core import registry
    from cgsurrogate.core.frames import Frames

    mapping = registry.build("mappings", "backbone", peptide.topology)
    forces = mapping.forces(-1000 * (atoms - peptide.xyz))
    return Frames(mapping.beads, mapping.positions(atoms), (25, 15), 2.0, 300.0, forces=forces)
