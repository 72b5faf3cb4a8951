//! Tells the crate which Python it is built for (`cfg(Py_GIL_DISABLED)` and its kin).

fn main() {
    #[cfg(feature = "python")]
    pyo3_build_config::use_pyo3_cfgs();
}
