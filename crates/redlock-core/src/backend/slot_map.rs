//! Maps each hash slot of a Redis Cluster to the member that owns it.

use std::collections::{HashMap, HashSet};

/// How many hash slots a Redis Cluster has.
const SLOTS: usize = 16384;

/// Marks a slot without an owner.
const NOBODY: u16 = u16::MAX;

/// The address of a member of a Redis Cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Member {
    pub(super) host: String,
    pub(super) port: u16,
}

impl Member {
    pub(super) fn new(host: &str, port: u16) -> Self {
        Self { host: host.to_owned(), port }
    }
}

/// The owners of all hash slots.
pub(super) struct SlotMap {
    owners: Vec<Member>,
    /// For each slot, the index of its owner.
    slots: Box<[u16]>,
    /// The members that are known by a host name, keyed by their address.
    names: HashMap<Member, Member>,
    /// How many owners do not answer the queried member.
    failing: usize,
    ids: MemberIds,
}

/// The IDs of the members of a cluster, including those without slots.
#[derive(Debug, Clone, Default)]
pub(super) struct MemberIds {
    all: HashSet<Box<str>>,
    /// Members that do not answer the queried member. They may have left the cluster.
    failing: HashSet<Box<str>>,
}

impl MemberIds {
    fn add(&mut self, id: &str, flags: &str) {
        // Until a member has introduced itself, its ID is random.
        if flags.contains("handshake") {
            return;
        }
        self.all.insert(id.into());
        if flags.contains("fail") || flags.contains("noaddr") {
            self.failing.insert(id.into());
        }
    }

    /// Returns whether the cluster that was known by these IDs can be the one with the `present` IDs: of the smaller of
    /// both, at least half of the members are the same. One in common is not enough, because a member that moves to
    /// another cluster may keep its ID.
    pub(super) fn are_of_the_cluster(&self, present: &Self) -> bool {
        let answering = || present.all.difference(&present.failing);
        let common = answering().filter(|id| self.all.contains(*id)).count();
        common > 0 && common * 2 >= self.all.len().min(answering().count())
    }
}

impl SlotMap {
    /// Parses the answer to `CLUSTER NODES`: a line for each member with its ID, its address, its flags and, from the
    /// ninth word on, its slots. A member that does not know its own address gets the host of the queried member,
    /// `asked`. With `by_name`, members that announce a host name are known by it, because their certificates are.
    pub(super) fn read(nodes: &str, asked: &str, by_name: bool) -> Self {
        let mut map = Self {
            owners: Vec::new(),
            slots: vec![NOBODY; SLOTS].into(),
            names: HashMap::new(),
            failing: 0,
            ids: MemberIds::default(),
        };
        for line in nodes.lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            let [id, address, flags, _, _, _, _, _, slots @ ..] = words.as_slice() else { continue };
            map.ids.add(id, flags);
            let Some(member) = member(address, asked, by_name).filter(|_| !flags.contains("noaddr")) else { continue };
            if by_name && let Some(numeric) = self::member(address, asked, false).filter(|numeric| *numeric != member) {
                map.names.insert(numeric, member.clone());
            }
            if !flags.split(',').any(|flag| flag == "master") {
                continue;
            }
            let fails = flags.split(',').any(|flag| flag == "fail" || flag == "fail?");
            map.failing += usize::from(fails && slots.iter().any(|slots| range(slots).is_some()));
            slots.iter().filter_map(|slots| range(slots)).for_each(|(first, last)| map.give(first, last, &member));
        }
        map
    }

    pub(super) fn owner(&self, slot: u16) -> Option<&Member> {
        self.owners.get(usize::from(*self.slots.get(usize::from(slot))?))
    }

    /// Returns all members that have a slot, each once.
    pub(super) fn owners(&self) -> &[Member] {
        &self.owners
    }

    /// Returns the name of the member at this address, if it has announced one.
    pub(super) fn named(&self, address: &Member) -> Option<&Member> {
        self.names.get(address)
    }

    pub(super) fn ids(&self) -> &MemberIds {
        &self.ids
    }

    /// Returns whether the queried member sees only a minority of the owners: the others may have elected new ones.
    pub(super) fn is_cut_off(&self) -> bool {
        self.failing * 2 > self.owners.len()
    }

    /// Notes that the slot has another owner.
    pub(super) fn moved(&mut self, slot: u16, owner: &Member) {
        self.give(slot.into(), slot.into(), owner);
    }

    fn give(&mut self, first: usize, last: usize, owner: &Member) {
        let known = self.owners.iter().position(|known| known == owner);
        let index = known.unwrap_or_else(|| {
            self.owners.push(owner.clone());
            self.owners.len() - 1
        });
        let Ok(index) = u16::try_from(index) else { return };
        self.slots.iter_mut().take(last + 1).skip(first).for_each(|slot| *slot = index);
    }
}

/// Parses `ip:port@bus,hostname,...`. In an IPv6 address, everything but the last part is the IP address.
fn member(address: &str, asked: &str, by_name: bool) -> Option<Member> {
    let (address, rest) = address.split_once('@').unwrap_or((address, ""));
    let (ip, port) = address.rsplit_once(':')?;
    let name = rest.split(',').nth(1).filter(|name| by_name && !name.is_empty() && !name.contains('='));
    let host = name.unwrap_or(if ip.is_empty() { asked } else { ip });
    let port = port.parse().ok().filter(|port| *port != 0)?;
    Some(Member { host: host.to_owned(), port })
}

/// Parses `5` or `5-9`. An entry in brackets is a slot that is being moved.
fn range(slots: &str) -> Option<(usize, usize)> {
    let (first, last) = slots.split_once('-').unwrap_or((slots, slots));
    Some((first.parse().ok()?, last.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: &str = "aa 10.0.0.1:6379@16379,one.example,shard-id=1 myself,master - 0 0 1 connected 0-8191 9000\n\
        bb 10.0.0.2:6379@16379 master - 0 0 2 connected 8192-8999 9001-16000 [93-<-aa]\n\
        cc 10.0.0.3:6379@16379 slave,fail aa 0 0 1 connected\n\
        dd :0@0 master,noaddr - 0 0 0 disconnected 16001\n\
        ee 2001:db8::5:6379@16379,shard-id=5 master,fail - 0 0 3 connected 16002\n\
        ff 10.0.0.6:6379@16379 master - 0 0 3 connected\n\
        short line\n";

    fn host(map: &SlotMap, slot: u16) -> Option<&str> {
        map.owner(slot).map(|member| member.host.as_str())
    }

    #[test]
    fn each_slot_has_the_primary_that_cluster_nodes_names() {
        let map = SlotMap::read(NODES, "asked", false);
        for (slot, owner) in [
            (0, Some("10.0.0.1")),
            (8191, Some("10.0.0.1")),
            (8192, Some("10.0.0.2")),
            (9000, Some("10.0.0.1")),
            (9001, Some("10.0.0.2")),
            (16001, None),
            (16002, Some("2001:db8::5")),
            (16383, None),
        ] {
            assert_eq!(host(&map, slot), owner, "{slot}");
        }
        assert_eq!(map.owners().len(), 3);
        assert_eq!(host(&map, u16::MAX), None);
    }

    #[test]
    fn a_member_may_be_known_by_its_name() {
        let map = SlotMap::read(NODES, "asked", true);
        assert_eq!((host(&map, 0), host(&map, 16002)), (Some("one.example"), Some("2001:db8::5")));
        assert_eq!(map.named(&Member::new("10.0.0.1", 6379)), Some(&Member::new("one.example", 6379)));
        assert_eq!(map.named(&Member::new("10.0.0.1", 6380)), None);
        assert_eq!(map.named(&Member::new("10.0.0.2", 6379)), None, "it has no name");
        assert_eq!(SlotMap::read(NODES, "asked", false).named(&Member::new("10.0.0.1", 6379)), None);
    }

    #[test]
    fn a_member_that_sees_a_minority_of_the_owners_is_cut_off() {
        let nodes = |flags: [&str; 3]| {
            let line = |(index, flags)| format!("a{index} h:{index}1@1 {flags} - 0 0 1 connected {index}\n");
            flags.into_iter().enumerate().map(line).collect::<String>()
        };
        for (flags, is_cut_off) in [
            (["myself,master", "master", "master"], false),
            (["myself,master", "master", "master,fail"], false),
            (["myself,master", "master,fail?", "master,fail"], true),
            (["master,fail?", "master,fail?", "slave,fail"], true),
            (["master", "slave,fail?", "slave,fail"], false),
        ] {
            assert_eq!(SlotMap::read(&nodes(flags), "", false).is_cut_off(), is_cut_off, "{flags:?}");
        }
    }

    #[test]
    fn a_cluster_is_known_by_at_least_half_of_its_members() {
        let ids = |members: &[&str]| {
            let line = |member: &&str| {
                let (id, flags) = member.split_once(' ').unwrap_or((member, "master"));
                format!("{id} 10.0.0.1:1@1 {flags} - 0 0 1 connected 0\n")
            };
            SlotMap::read(&members.iter().map(line).collect::<String>(), "", false).ids().clone()
        };
        let known = ids(&["a", "b", "c"]);
        for (present, is_the_same) in [
            (&["a", "b", "c"][..], true),
            (&["a", "c", "b master,fail"], true),
            (&["a", "b", "c", "d", "e", "f", "g", "h"], true),
            (&["b"], true),
            (&["b", "c fail?", "a master,fail"], true),
            // The third has moved to another cluster, and kept its ID.
            (&["c", "x", "y"], false),
            (&["x"], false),
            (&["x", "a master,fail", "b noaddr"], false),
            (&["a handshake"], false),
        ] {
            assert_eq!(known.are_of_the_cluster(&ids(present)), is_the_same, "{present:?}");
        }
        assert!(ids(&["a fail?", "b fail?", "c"]).are_of_the_cluster(&ids(&["a", "b", "c master,fail"])));
    }

    #[test]
    fn a_member_without_an_address_is_the_one_that_was_queried() {
        let map = SlotMap::read("aa :7000@17000 myself,master - 0 0 1 connected 0-16383\n", "db.example", false);
        assert_eq!(map.owner(16383), Some(&Member::new("db.example", 7000)));
    }

    #[test]
    fn a_slot_that_moved_has_its_new_owner() {
        let mut map = SlotMap::read(NODES, "", false);
        map.moved(8191, &Member::new("10.0.0.2", 6379));
        map.moved(16383, &Member::new("10.0.0.9", 7));
        assert_eq!((host(&map, 8190), host(&map, 8191)), (Some("10.0.0.1"), Some("10.0.0.2")));
        assert_eq!((host(&map, 16383), map.owners().len()), (Some("10.0.0.9"), 4));
    }
}
