//! `leaksafe._core`: data structures for Python that cannot leak.
//!
//! [`core`] holds the structures, `interop` is how they talk to CPython, `types` is what Python sees.

pub mod core;
#[cfg(feature = "python")]
mod interop;
#[cfg(feature = "python")]
mod types;

#[cfg(feature = "python")]
#[pyo3::pymodule(name = "_core", gil_used = false)]
mod python {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::types::alarm::Alarm;
    #[pymodule_export]
    use crate::types::computation::{Computation, computing};
    #[pymodule_export]
    use crate::types::deep_sizeof::deep_sizeof;
    #[pymodule_export]
    use crate::types::flights::{FlightObject, FlightsObject};
    #[pymodule_export]
    use crate::types::heap::{
        HeapSnapshot, chains, count_types, cycle, instances, survivors, weigh,
    };
    #[pymodule_export]
    use crate::types::iterator::CacheIterator;
    #[pymodule_export]
    use crate::types::living::{enter, living, record_places};
    #[pymodule_export]
    use crate::types::lru_cache::{LruCache, keep, keys, rebuild, take};
    #[pymodule_export]
    use crate::types::lru_function::{
        Elsewhere, LruCall, LruFunction, LruMethod, Reaper, Results, bring_back, put_away,
    };
    #[pymodule_export]
    use crate::types::registry::Registry;
    #[pymodule_export]
    use crate::types::singleton::{Single, make_single, single_of};
    #[pymodule_export]
    use crate::types::views::{ItemsView, KeysView, ValuesView};
    #[pymodule_export]
    use crate::types::weak_attribute::WeakAttribute;
    #[pymodule_export]
    use crate::types::weak_cache::WeakCache;
    #[pymodule_export]
    use crate::types::weak_keys::WeakKeys;
    #[pymodule_export]
    use crate::types::weak_members::WeakMembers;
    #[pymodule_export]
    use crate::types::weak_table::{WeakIterator, WeakReaper};
    #[pymodule_export]
    use crate::types::weak_values::WeakValues;
    #[pymodule_export]
    use crate::types::weigher::entry_size;

    #[pymodule_export]
    use crate::types::sweeper::{pause, run_once, state};
    use crate::types::ttl_cache::TtlCache;

    #[pymodule_export]
    #[allow(non_upper_case_globals, reason = "a dunder")]
    const __version__: &str = env!("CARGO_PKG_VERSION");
    #[pymodule_export]
    const TRACEMALLOC_DOMAIN: u32 = crate::interop::trace::DOMAIN;

    /// Lets threads that call an object leave its reference count alone, where there is no GIL.
    #[pyfunction]
    #[pyo3(signature = (shared, /))]
    fn _defer_refcount(shared: &Bound<'_, PyAny>) {
        crate::interop::refcount::defer(shared);
    }

    /// Makes the next call of a decorated function that is no plain hit panic in Rust. For tests.
    #[pyfunction]
    fn _panic_once() {
        crate::interop::vectorcall::panic_once();
    }

    /// Gives a class a method descriptor of its own for a method that it inherits.
    #[pyfunction]
    #[pyo3(signature = (class, name, /))]
    fn _adopt(class: &Bound<'_, pyo3::types::PyType>, name: &str) -> PyResult<()> {
        crate::interop::descriptor::adopt(class, name)
    }

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let py = module.py();
        crate::interop::interpreter::refuse_subinterpreters(py)?;
        crate::interop::clock::prepare();
        crate::interop::logging::prepare(py)?;
        crate::interop::flight::prepare(py)?;
        crate::interop::call::prepare(py)?;
        crate::types::singleton::prepare(module)?;
        crate::types::stats::prepare(py)?;
        crate::types::sweeper::prepare(py)?;
        crate::types::weigher::prepare(module)?;
        crate::types::lru_function::prepare(py)?;
        crate::interop::hot::install::<LruCache>(py)?;
        crate::interop::hot::install::<WeakValues>(py)?;
        crate::interop::hot::install::<WeakKeys>(py)?;
        crate::interop::hot::install::<WeakCache>(py)?;
        crate::interop::hot::install_creating::<Registry>(py)?;
        WeakValues::prepare(py)?;
        // After the line above: it inherits what that puts in place.
        module.add_class::<TtlCache>()?;
        let abc = py.import("collections.abc")?;
        for (name, class) in [
            ("MutableMapping", py.get_type::<LruCache>()),
            ("MutableMapping", py.get_type::<WeakKeys>()),
            ("MutableMapping", py.get_type::<WeakValues>()),
            ("KeysView", py.get_type::<KeysView>()),
            ("ValuesView", py.get_type::<ValuesView>()),
            ("ItemsView", py.get_type::<ItemsView>()),
            ("Iterator", py.get_type::<CacheIterator>()),
            ("Iterator", py.get_type::<WeakIterator>()),
        ] {
            abc.getattr(name)?.call_method1("register", (class,))?;
        }
        Ok(())
    }
}
