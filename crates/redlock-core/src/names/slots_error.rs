//! The error for keys that a Redis Cluster cannot set in one step because they are in several hash slots.

use std::{collections::BTreeMap, fmt};

use super::{hash_slot::hash_slot, resource::Resource, resources::Resources};

/// The resources cannot be locked together: a node is a Redis Cluster, and they are in more than one of its hash slots.
///
/// Give their names a common hash tag, for example `{account}:from` and `{account}:to`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlotsError {
    /// The first node that is a cluster.
    pub node: String,
    /// The slots, each with the resources in it.
    pub slots: Vec<(u16, Resources)>,
}

impl SlotsError {
    /// Returns an error if the keys are not all in one slot. `node` is a cluster, and sets the keys in `beside` in the
    /// same step.
    pub(crate) fn check<'k>(
        node: &str,
        resources: &Resources,
        keys: &'k Resources,
        beside: impl Iterator<Item = &'k Resource>,
    ) -> Result<(), Box<Self>> {
        let mut slots = BTreeMap::<u16, Vec<_>>::new();
        for (resource, key) in resources.iter().zip(keys).chain(beside.map(|key| (key, key))) {
            slots.entry(hash_slot(key.as_str())).or_default().push(resource.as_str());
        }
        if slots.len() == 1 {
            return Ok(());
        }
        let slots = slots.into_iter().filter_map(|(slot, names)| Some((slot, Resources::new(names).ok()?))).collect();
        Err(Box::new(Self { node: node.to_owned(), slots }))
    }
}

impl fmt::Display for SlotsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const READABLE: usize = 4;
        write!(
            f,
            "node {} is a Redis Cluster, and the resources are in {} of its hash slots: ",
            self.node,
            self.slots.len()
        )?;
        for (i, (slot, resources)) in self.slots.iter().take(READABLE).enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{resources} in slot {slot}")?;
        }
        match self.slots.len().saturating_sub(READABLE) {
            0 => {}
            more => write!(f, "; and {more} more")?,
        }
        f.write_str("; give their names a common hash tag, as in {tag}name, or set a key prefix with one, as in {tag}:")
    }
}

impl std::error::Error for SlotsError {}
