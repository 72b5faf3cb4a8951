//! Who refers to whom, as numbers, and the shortest ways there.

/// Directed edges, laid out node after node: those of node `n` end where those of the next begin.
#[derive(Default)]
pub struct Graph {
    ends: Vec<u32>,
    edges: Vec<u32>,
}

/// The shortest ways from some nodes to all that can be reached from them.
pub struct Ways {
    /// For each node the one before it on the way, itself where the way begins, or [`NOWHERE`].
    before: Vec<u32>,
    /// The nodes that are reached, the nearest first.
    order: Vec<u32>,
}

/// Stands for no node.
const NOWHERE: u32 = u32::MAX;

impl Graph {
    /// Adds an edge from the node that is next to end; `None` for want of memory.
    pub fn add(&mut self, to: u32) -> Option<()> {
        self.edges.try_reserve(1).ok()?;
        self.edges.push(to);
        Some(())
    }

    /// Says that the edges of the next node are complete; `None` for want of memory, or numbers.
    pub fn end_node(&mut self) -> Option<()> {
        self.ends.try_reserve(1).ok()?;
        self.ends.push(u32::try_from(self.edges.len()).ok()?);
        Some(())
    }

    /// Where the edges of a node lead.
    #[must_use]
    pub fn from(&self, node: u32) -> &[u32] {
        let node = node as usize;
        let start = match node.checked_sub(1) {
            Some(last) => self.ends.get(last).copied().unwrap_or_default(),
            None => 0,
        };
        let end = self.ends.get(node).copied().unwrap_or(start);
        &self.edges[start as usize..end as usize]
    }

    /// How many nodes have their edges.
    fn len(&self) -> usize {
        self.ends.len()
    }

    /// How many edges lead to each node.
    pub fn counts(&self) -> impl Iterator<Item = u32> {
        let mut counts = vec![0_u32; self.len()];
        for &to in &self.edges {
            counts[to as usize] += 1;
        }
        counts.into_iter()
    }

    /// The nodes that have an edge to one.
    pub fn to(&self, node: u32) -> impl Iterator<Item = u32> {
        let mut at = 0_usize;
        self.ends
            .iter()
            .zip(0_u32..)
            .filter_map(move |(&end, from)| {
                let edges = &self.edges[at..end as usize];
                at = end as usize;
                edges.contains(&node).then_some(from)
            })
    }

    /// The shortest ways from `starts`, the first of which win where two are equally short. A way may end at a node that is
    /// `closed`, and doesn't go through it.
    #[must_use]
    pub fn ways(&self, starts: &[u32], closed: impl Fn(u32) -> bool) -> Ways {
        let mut ways = Ways {
            before: vec![NOWHERE; self.len()],
            order: Vec::new(),
        };
        self.extend(&mut ways, starts, closed);
        ways
    }

    /// Adds the shortest ways from more nodes to what isn't reached yet.
    pub fn extend(&self, ways: &mut Ways, starts: &[u32], closed: impl Fn(u32) -> bool) {
        let mut at = ways.order.len();
        for &start in starts {
            ways.reach(start, start);
        }
        while let Some(&node) = ways.order.get(at) {
            at += 1;
            if !closed(node) {
                for &to in self.from(node) {
                    ways.reach(to, node);
                }
            }
        }
    }
}

impl Ways {
    fn reach(&mut self, node: u32, from: u32) {
        let before = &mut self.before[node as usize];
        if *before == NOWHERE {
            *before = from;
            self.order.push(node);
        }
    }

    /// Whether there is a way to a node.
    #[must_use]
    pub fn reaches(&self, node: u32) -> bool {
        self.before[node as usize] != NOWHERE
    }

    /// The node before one on its way, unless that begins there or doesn't exist.
    #[must_use]
    pub fn before(&self, node: u32) -> Option<u32> {
        let before = self.before[node as usize];
        (before != node && before != NOWHERE).then_some(before)
    }

    /// The nodes that are reached, each after the one before it on its way.
    #[must_use]
    pub fn order(&self) -> &[u32] {
        &self.order
    }

    /// The way to a node, backwards: the node first.
    pub fn back(&self, node: u32) -> impl Iterator<Item = u32> {
        std::iter::successors(Some(node), |&at| self.before(at))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn graph(nodes: u32, edges: &[(u32, u32)]) -> Graph {
        let mut graph = Graph::default();
        for node in 0..nodes {
            for &(_, to) in edges.iter().filter(|&&(from, _)| from == node) {
                assert_eq!(graph.add(to), Some(()));
            }
            assert_eq!(graph.end_node(), Some(()));
        }
        graph
    }

    #[test]
    fn the_first_start_wins_and_closed_nodes_end_a_way() {
        let graph = graph(5, &[(0, 2), (1, 2), (2, 3), (3, 4)]);
        let ways = graph.ways(&[1, 0], |_| false);
        assert_eq!(ways.back(4).collect::<Vec<_>>(), [4, 3, 2, 1]);
        let ways = graph.ways(&[0], |node| node == 3);
        assert!(ways.reaches(3) && !ways.reaches(4) && !ways.reaches(1));
        assert_eq!(graph.to(2).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(graph.counts().collect::<Vec<_>>(), [0, 0, 2, 1, 1]);
    }

    proptest! {
        /// Against Bellman and Ford's relaxation of every edge.
        #[test]
        fn ways_are_the_shortest(edges in prop::collection::vec((0_u32..12, 0_u32..12), 0..40)) {
            let graph = graph(12, &edges);
            let ways = graph.ways(&[0], |_| false);
            let mut distance = [None; 12];
            distance[0] = Some(0_usize);
            for _ in 0..12 {
                for &(from, to) in &edges {
                    if let Some(near) = distance[from as usize] {
                        let far = &mut distance[to as usize];
                        *far = Some(far.map_or(near + 1, |known: usize| known.min(near + 1)));
                    }
                }
            }
            for node in 0..12 {
                prop_assert_eq!(ways.reaches(node), distance[node as usize].is_some());
                if let Some(far) = distance[node as usize] {
                    let way: Vec<_> = ways.back(node).collect();
                    prop_assert_eq!(way.len(), far + 1);
                    for pair in way.windows(2) {
                        prop_assert!(edges.contains(&(pair[1], pair[0])));
                    }
                }
            }
        }
    }
}
