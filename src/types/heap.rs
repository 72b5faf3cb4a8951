//! What the package `leaksafe.leaks` asks about all objects at once.

use std::collections::HashMap;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyType};

use crate::core::{Addresses, Graph, Ways};
use crate::interop::build;
use crate::interop::heap::{Heap, Node, is_container, tracked};
use crate::interop::referents::{Worklist, no_memory};
use crate::interop::sizes::Scales;

/// Objects, each held by the next.
type Chain<'py> = Vec<Bound<'py, PyAny>>;

/// What survivors have in common: the holders of the first of them, these, how many there are with all below, and the
/// bytes of all these.
type Group<'py> = (Chain<'py>, Vec<Bound<'py, PyAny>>, usize, u64);

/// An object that was there, without a hold on it.
struct Seen {
    class: usize,
    held: u32,
}

/// The objects that there were when it was made, without a reference to any: what is new is told by address and class.
#[pyclass(frozen, name = "_HeapSnapshot", module = "leaksafe._core")]
pub struct HeapSnapshot {
    addresses: Addresses,
    /// What was there, by the number of its address.
    seen: Vec<Seen>,
}

#[pymethods]
impl HeapSnapshot {
    #[new]
    fn new(py: Python<'_>) -> PyResult<Self> {
        let heap = Heap::objects_only(py)?;
        let mut addresses = Addresses::default();
        let mut seen = Vec::new();
        seen.try_reserve_exact(heap.len())
            .map_err(|_| no_memory())?;
        for (object, held) in heap.objects() {
            let address = object.as_ptr() as usize;
            let class = object.get_type_ptr() as usize;
            let (_, is_new) = addresses.number(address).ok_or_else(no_memory)?;
            if is_new {
                seen.push(Seen { class, held });
            }
        }
        Ok(Self { addresses, seen })
    }

    fn __len__(&self) -> usize {
        self.seen.len()
    }

    /// The objects that are new, and those that hold more than they did, with how many references they held and hold.
    #[allow(clippy::type_complexity, reason = "a pair of lists")]
    fn compare<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Vec<Bound<'py, PyAny>>, Vec<(Bound<'py, PyAny>, u32, u32)>)> {
        let heap = Heap::objects_only(py)?;
        let (mut new, mut grown) = (Vec::new(), Vec::new());
        for (object, held) in heap.objects() {
            let address = object.as_ptr() as usize;
            let class = object.get_type_ptr() as usize;
            let before = self
                .addresses
                .find(address)
                .map(|number| &self.seen[number as usize])
                .filter(|seen| seen.class == class);
            match before {
                None => new.push(object.to_owned()),
                Some(before) if before.held < held => {
                    grown.push((object.to_owned(), before.held, held));
                }
                Some(_) => {}
            }
        }
        Ok((new, grown))
    }
}

/// Counts what the collector tracks by class.
#[pyfunction(name = "_count_types")]
pub fn count_types(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let objects = tracked(py)?;
    let mut counts: HashMap<usize, (Bound<'_, PyType>, usize)> = HashMap::new();
    for object in objects.iter() {
        let class = object.get_type_ptr() as usize;
        counts
            .entry(class)
            .or_insert_with(|| (object.get_type(), 0))
            .1 += 1;
    }
    let answer = build::dict(py)?;
    for (class, count) in counts.into_values() {
        answer.set_item(class, count)?;
    }
    Ok(answer)
}

/// What the collector tracks that is of exactly one of some classes.
#[pyfunction(name = "_instances")]
#[pyo3(signature = (classes, /))]
pub fn instances<'py>(classes: &Bound<'py, PyList>) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let objects = tracked(classes.py())?;
    let classes: Vec<_> = classes.iter().collect();
    let is_wanted = |object: &Bound<'py, PyAny>| {
        let class = object.get_type_ptr().cast();
        classes.iter().any(|wanted| wanted.as_ptr() == class)
    };
    Ok(objects.iter().filter(is_wanted).collect())
}

/// The nodes of some objects.
fn nodes(heap: &Heap<'_>, objects: &Bound<'_, PyList>) -> Vec<Node> {
    let node = |object: Bound<'_, PyAny>| heap.node(object.as_ptr());
    objects.iter().filter_map(node).collect()
}

/// The ways from `roots`, and then from what only C holds, to all else.
fn ways(graph: &Graph, roots: &[Node], unseen: &[u32], closed: &[bool]) -> Ways {
    let is_closed = |node: Node| closed[node as usize];
    let mut ways = graph.ways(roots, is_closed);
    let held_elsewhere: Vec<Node> = (0..)
        .zip(unseen)
        .filter(|&(node, &unseen)| unseen > 0 && !ways.reaches(node) && !is_closed(node))
        .map(|(node, _)| node)
        .collect();
    graph.extend(&mut ways, &held_elsewhere, is_closed);
    ways
}

/// Marks nodes, and the lists that only this call holds.
fn marks(heap: &Heap<'_>, objects: &Bound<'_, PyList>, lists: &[&Bound<'_, PyList>]) -> Vec<bool> {
    let mut marks = vec![false; heap.len()];
    let lists = lists.iter().filter_map(|list| heap.node(list.as_ptr()));
    for node in nodes(heap, objects).into_iter().chain(lists) {
        marks[node as usize] = true;
    }
    marks
}

/// Finds who holds an object.
///
/// The answer is a list of chains, the shortest first and at most `most`: the object, a holder of it, a holder of that,
/// and so on to one of `roots`, or to what nothing visible holds; and the number of references to the object that
/// nothing visible holds. No chain goes through `left_out`, or twice through the object.
#[pyfunction(name = "_chains")]
#[pyo3(signature = (object, roots, left_out, most, /))]
pub fn chains<'py>(
    object: &Bound<'py, PyAny>,
    roots: &Bound<'py, PyList>,
    left_out: &Bound<'py, PyList>,
    most: usize,
) -> PyResult<(Vec<Chain<'py>>, u32)> {
    let py = object.py();
    let heap = Heap::with_references(py, std::slice::from_ref(object))?;
    let (Some(graph), Some(target)) = (heap.graph(), heap.node(object.as_ptr())) else {
        return Ok((Vec::new(), 0));
    };
    let mut closed = marks(&heap, left_out, &[roots, left_out]);
    closed[target as usize] = true;
    let unseen = heap.unseen();
    let starts = nodes(&heap, roots);
    let ways = ways(graph, &starts, &unseen, &closed);
    let mut found: Vec<Vec<Node>> = graph
        .to(target)
        .filter(|&holder| !closed[holder as usize] && ways.reaches(holder))
        .map(|holder| ways.back(holder).collect())
        .collect();
    if starts.contains(&target) {
        found.push(Vec::new());
    }
    // What only C holds comes last; of two that are as long, the one whose root comes first.
    found.sort_by_cached_key(|way| {
        let root = way.last().copied().unwrap_or(target);
        let place = starts.iter().position(|&start| start == root);
        (place.is_none(), way.len(), place)
    });
    let chain = |way: &Vec<Node>| {
        let holders = way.iter().map(|&node| heap.object(node));
        std::iter::once(object.clone()).chain(holders).collect()
    };
    let shortest = found.iter().take(most).map(chain).collect();
    Ok((shortest, unseen[target as usize]))
}

/// Finds the shortest cycle through an object: the object, a holder of it, and so on to the object; empty if there is none.
#[pyfunction(name = "_cycle")]
#[pyo3(signature = (object, /))]
pub fn cycle<'py>(object: &Bound<'py, PyAny>) -> PyResult<Chain<'py>> {
    let heap = Heap::with_references(object.py(), &[])?;
    let (Some(graph), Some(target)) = (heap.graph(), heap.node(object.as_ptr())) else {
        return Ok(Vec::new());
    };
    let ways = graph.ways(&[target], |_| false);
    let shortest = graph
        .to(target)
        .filter(|&holder| ways.reaches(holder))
        .map(|holder| ways.back(holder).collect::<Vec<_>>())
        .min_by_key(Vec::len);
    Ok(shortest.map_or_else(Vec::new, |way| {
        let holders = way.iter().map(|&node| heap.object(node));
        std::iter::once(object.clone()).chain(holders).collect()
    }))
}

/// The bytes of some objects and of the plain ones that they hold, such as numbers and strings, each once; without what
/// is shared (see `deep_sizeof`). No Python code of theirs runs.
#[pyfunction(name = "_weigh")]
#[pyo3(signature = (objects, /))]
pub fn weigh(objects: &Bound<'_, PyList>) -> PyResult<u64> {
    Weighing::new(objects.py())?.weigh(objects.iter())
}

/// Up to so many objects with one holder are told apart.
const FEW: usize = 32;

struct Weighing<'py> {
    met: Worklist<'py>,
    scales: Scales<'py>,
}

impl<'py> Weighing<'py> {
    fn new(py: Python<'py>) -> PyResult<Self> {
        Ok(Self {
            met: Worklist::new(py),
            scales: Scales::without_python_code(py)?,
        })
    }

    /// The bytes of containers, and of what else they hold that wasn't weighed before.
    fn weigh(&mut self, objects: impl Iterator<Item = Bound<'py, PyAny>>) -> PyResult<u64> {
        let mut total = 0_u64;
        for object in objects {
            if let Some(size) = self.scales.weigh(&object)? {
                let references = self.met.expand(&object)?;
                total += (size.bytes + size.each_reference * references) as u64;
            }
        }
        while let Some(object) = self.met.next()? {
            if !is_container(object.as_ptr())
                && let Some(size) = self.scales.weigh(&object)?
            {
                total += size.bytes as u64;
            }
        }
        Ok(total)
    }
}

/// Finds who holds some objects, those together that have the same holder.
///
/// The answer is a list: the chain of holders to a root (as in `_chains`, without the object itself; empty for what
/// nothing visible holds), those of the objects that are held so (one by one where they are few), how many there are with
/// those that they hold in turn, and the bytes of all these; and the objects that can't be reached from anywhere.
#[pyfunction(name = "_survivors")]
#[pyo3(signature = (objects, roots, left_out, /))]
pub fn survivors<'py>(
    objects: &Bound<'py, PyList>,
    roots: &Bound<'py, PyList>,
    left_out: &Bound<'py, PyList>,
) -> PyResult<(Vec<Group<'py>>, Vec<Bound<'py, PyAny>>)> {
    if objects.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let py = objects.py();
    let heap = Heap::with_references(py, &[])?;
    let Some(graph) = heap.graph() else {
        return Ok((Vec::new(), Vec::new()));
    };
    let survives = marks(&heap, objects, &[]);
    let closed = marks(&heap, left_out, &[objects, roots, left_out]);
    let ways = ways(graph, &nodes(&heap, roots), &heap.unseen(), &closed);
    // For each node the first survivor on the way to it.
    let mut first: Vec<Option<Node>> = vec![None; heap.len()];
    let mut groups: HashMap<Option<Node>, Vec<(Node, Node)>> = HashMap::new();
    for &node in ways.order() {
        let above = ways.before(node).and_then(|before| first[before as usize]);
        let top = above.or(survives[node as usize].then_some(node));
        first[node as usize] = top;
        if let Some(top) = top
            && survives[node as usize]
        {
            let holder = ways.before(top);
            groups.entry(holder).or_default().push((top, node));
        }
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(holder, _)| *holder);
    let mut weighing = Weighing::new(py)?;
    let mut found = Vec::new();
    for (holder, mut members) in groups {
        let way: Vec<Node> = holder
            .iter()
            .flat_map(|&holder| ways.back(holder))
            .collect();
        let tops = members.iter().filter(|(top, node)| top == node).count();
        // Of a few, each is told by itself, as it may be held by another name.
        members.sort_by_key(|&(top, _)| top);
        let mut part = |members: &[(Node, Node)]| -> PyResult<()> {
            let tops = members.iter().filter(|(top, node)| top == node);
            found.push((
                way.iter().map(|&node| heap.object(node)).collect(),
                tops.map(|&(node, _)| heap.object(node)).collect(),
                members.len(),
                weighing.weigh(members.iter().map(|&(_, node)| heap.object(node)))?,
            ));
            Ok(())
        };
        if tops <= FEW {
            for members in members.chunk_by(|one, next| one.0 == next.0) {
                part(members)?;
            }
        } else {
            part(&members)?;
        }
    }
    let unreached = nodes(&heap, objects)
        .into_iter()
        .filter(|&node| !ways.reaches(node) && !closed[node as usize]);
    Ok((found, unreached.map(|node| heap.object(node)).collect()))
}
