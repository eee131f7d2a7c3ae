//! Hashes of a lease by parts: to the search, all nodes are alike.

use std::hash::{Hash, Hasher};

use super::Lease;

impl<N: Hash> Lease<N> {
    /// Hashes the parts of this node.
    pub(crate) fn hash_node(&self, node: usize, into: &mut impl Hasher) {
        self.nodes[node].hash(into);
        self.extends.hash_node(node, into);
        self.acquiring.iter().for_each(|acquiring| acquiring.hash_node(node, into));
        self.releasing.iter().for_each(|tally| tally.heard()[node].hash(into));
    }

    /// Hashes the parts of no node.
    pub(crate) fn hash_rest(&self, into: &mut impl Hasher) {
        let Self { name, phase, nodes: _, validity, node_timeout, longest, fence, follows, cause, .. } = self;
        (name, phase, validity, node_timeout, longest, fence, follows, cause).hash(into);
        self.extends.hash_rest(into);
        self.acquiring.is_some().hash(into);
        self.acquiring.iter().for_each(|acquiring| acquiring.hash_rest(into));
        self.releasing.as_ref().map(|tally| tally.is_closed()).hash(into);
    }
}
