//! Whether a fleet can set keys in one step: a node that is a Redis Cluster can only within one hash slot.

use std::{collections::BTreeMap, fmt};

use crate::{algorithm::hash_slot, fleet::Fleet, request::Counters, resources::Resources};

/// Resources cannot be locked together: a node is a Redis Cluster, and they are in more than one of its hash slots.
///
/// Give their names a common hash tag, as `{account}:from` and `{account}:to`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlotsError {
    /// The first node that is a cluster.
    pub node: String,
    /// The slots, each with the resources in it.
    pub slots: Vec<(u16, Resources)>,
}

impl SlotsError {
    /// Fails if one of the nodes is a cluster and the keys are not in one slot.
    ///
    /// Fencing counters and the marker of the restart guard have to be in that slot as well.
    pub(crate) fn check(
        fleet: &Fleet,
        resources: &Resources,
        keys: &Resources,
        counters: Option<&Counters>,
    ) -> Result<(), Box<Self>> {
        let marker = fleet.guard.as_ref().map(|guard| &guard.marker);
        if resources.len() == 1 && counters.is_none() && marker.is_none() {
            return Ok(());
        }
        let Some(cluster) = fleet.members.iter().find(|member| member.node.is_cluster()) else { return Ok(()) };
        let counters = counters.into_iter().flat_map(|counters| &counters.keys);
        let beside = counters.chain(marker).map(|key| (key, key));
        let mut slots = BTreeMap::<u16, Vec<_>>::new();
        for (resource, key) in resources.iter().zip(keys).chain(beside) {
            slots.entry(hash_slot(key.as_str())).or_default().push(resource.as_str());
        }
        if slots.len() == 1 {
            return Ok(());
        }
        let slots = slots.into_iter().filter_map(|(slot, names)| Some((slot, Resources::new(names).ok()?))).collect();
        Err(Box::new(Self { node: cluster.node.name().to_owned(), slots }))
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
        f.write_str("; give their names a common hash tag, as in {tag}name, or all keys one by a key prefix, as {tag}:")
    }
}

impl std::error::Error for SlotsError {}
