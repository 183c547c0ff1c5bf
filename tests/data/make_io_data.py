"""Makes the reference files of this folder that other programs would write (NumPy needed)."""
import gzip
import pathlib

import numpy as np

here = pathlib.Path(__file__).parent
x = np.arange(12).reshape(3, 4) - 5

np.save(here / "c_f4.npy", x.astype("<f4"))
np.save(here / "fortran_f8.npy", np.asfortranarray(x.astype("<f8")))
np.save(here / "big_i4.npy", x.astype(">i4"))
np.save(here / "f2.npy", x.astype("<f2"))
with open(here / "v2.npy", "wb") as f:
    np.lib.format.write_array(f, x.astype("<f8"), version=(2, 0))

y = np.array([2, 0, 1])
np.savez(here / "xy.npz", x=x.astype("f4"), y=y)
np.savez_compressed(here / "deflated.npz", data=np.zeros((100, 20)), labels=np.arange(100) % 3)
np.savez(here / "one.npz", emb=x)
np.savez(here / "pairs.npz", i=[0, 1, 2], j=[1, 2, 0], same=[True, False, True], weight=[1.0, 0.5, 2])
np.savetxt(here / "savetxt.txt", x)
with gzip.GzipFile(here / "c_f4.npy.gz", "wb", mtime=0) as f:
    f.write((here / "c_f4.npy").read_bytes())
