//! The world at one moment: the key and answers of each node, and what each client does.

use std::fmt;

/// N nodes and C clients.
///
/// Messages are not part of it: those of a round may arrive at any later moment, any number of times, or never. So a
/// finished round needs no name. Its messages may arrive forever, like those of every other finished round, and the
/// keys that it may have left are [`Owner::Old`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct World<const N: usize, const C: usize> {
    pub(crate) clients: [Client; C],
    pub(crate) nodes: [Node<C>; N],
    /// Whether any round is finished, so that messages of such rounds exist.
    pub(crate) past: bool,
}

/// A client, with its current token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) phase: Phase,
    /// Whether another client has held the lock since the validity of this one ended, while its extend is still in
    /// flight.
    pub(crate) overtaken: bool,
    /// Whether its token was released before. This never happens if each round has its own token.
    pub(crate) reused: bool,
}

/// The activity of a client. All times are in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing, or it waits for its next round.
    Idle,
    /// It has sent acquires to all nodes, `age` ticks ago.
    Asking { age: u8 },
    /// It relies on the lock, with this much validity `left`.
    Holding { left: u8 },
    /// It has sent extends to all nodes, `age` ticks ago, and relies on the lock while some validity is `left`.
    Extending { left: u8, age: u8 },
}

/// A node: its key, and its answer to the current request of each client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Node<const C: usize> {
    pub(crate) key: Option<Key>,
    /// Whether an answer is received, late or lost shows when the client decides.
    pub(crate) answers: [Answer; C],
}

/// A key, and how long it will live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) owner: Owner,
    pub(crate) left: u8,
}

/// Whose token a key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The current token of this client.
    Client(usize),
    /// The token of a finished round.
    Old,
    /// No token: there is no key, and the node stays away for this long.
    Away,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    None,
    Granted,
    Refused,
}

/// The longest time that is modeled.
pub(crate) const LONGEST: u8 = 3;

impl<const N: usize, const C: usize> World<N, C> {
    pub(crate) const NEW: Self = Self {
        clients: [Client { phase: Phase::Idle, overtaken: false, reused: false }; C],
        nodes: [Node { key: None, answers: [Answer::None; C] }; N],
        past: false,
    };

    /// Returns whether two clients rely on the lock at this moment, or one has extended a lock that another client has
    /// held meanwhile.
    pub(crate) fn is_broken(&self) -> bool {
        let mut holders = self.clients.iter().filter(|client| client.is_holder());
        holders.clone().count() > 1 || holders.any(|client| client.overtaken)
    }

    /// Returns whether no client does anything and no node has a key.
    pub(crate) fn is_free(&self) -> bool {
        self.clients.iter().all(|client| client.phase == Phase::Idle)
            && self.nodes.iter().all(|node| node.key.is_none())
    }

    /// Counts the nodes that have a key of this owner.
    pub(crate) fn keys(&self, owner: Owner) -> usize {
        self.nodes.iter().filter(|node| node.has_key_of(owner)).count()
    }

    /// Counts the nodes that have given the client this answer.
    pub(crate) fn answers(&self, client: usize, answer: Answer) -> usize {
        self.nodes.iter().filter(|node| node.answers[client] == answer).count()
    }

    /// Returns this world with the client in a phase in which it has no answers yet.
    pub(crate) fn with(mut self, client: usize, phase: Phase) -> Self {
        self.clients[client].phase = phase;
        self.nodes.iter_mut().for_each(|node| node.answers[client] = Answer::None);
        self
    }

    /// Returns this world with another key on the node.
    pub(crate) fn with_key(mut self, node: usize, key: Option<Key>) -> Self {
        self.nodes[node].key = key;
        self
    }

    /// Returns the same number for all worlds that differ only in the names of nodes and clients, because they have the
    /// same future.
    ///
    /// Clients that look alike without the names of nodes keep their order, so a few such worlds have more than one
    /// number. That costs a little time.
    pub(crate) fn code(&self) -> u64 {
        let mut order: [_; C] = std::array::from_fn(|client| (self.look(client), client));
        order.sort_unstable();
        let mut place = [0; C];
        for (at, (_, client)) in order.iter().enumerate() {
            place[*client] = at;
        }
        let mut columns = self.nodes.map(|node| {
            let key = node.key.map_or(0, |Key { owner, left }| {
                let owner = match owner {
                    Owner::Old => 0,
                    Owner::Away => 1,
                    Owner::Client(client) => 2 + place[client] as u64,
                };
                owner * TIMES + u64::from(left)
            });
            order.iter().fold(key, |code, (_, client)| code * 3 + node.answers[*client] as u64)
        });
        columns.sort_unstable();
        let clients = order.iter().fold(0, |code, (_, client)| code * Client::CODES + self.clients[*client].code());
        let column_codes = (2 + C as u64) * TIMES * 3_u64.pow(C as u32);
        columns.iter().fold(clients * 2 + u64::from(self.past), |code, column| code * column_codes + column)
    }

    /// Returns a number for the part of a client's state that does not depend on the names of nodes.
    fn look(&self, client: usize) -> u64 {
        let mut counted = 0;
        for node in &self.nodes {
            counted += node.answers[client] as u64;
            counted += if node.has_key_of(Owner::Client(client)) { 100 } else { 0 };
        }
        self.clients[client].code() * 1000 + counted
    }
}

impl<const C: usize> Node<C> {
    pub(crate) fn has_key_of(&self, owner: Owner) -> bool {
        self.key.is_some_and(|key| key.owner == owner)
    }
}

/// How many different times there are.
const TIMES: u64 = LONGEST as u64 + 1;

impl Client {
    const CODES: u64 = 4 * (1 + 2 * TIMES + TIMES * TIMES);

    /// Returns whether it relies on the lock.
    pub(crate) fn is_holder(&self) -> bool {
        match self.phase {
            Phase::Holding { .. } => true,
            Phase::Extending { left, .. } => left > 0,
            Phase::Idle | Phase::Asking { .. } => false,
        }
    }

    fn code(&self) -> u64 {
        let phase = match self.phase {
            Phase::Idle => 0,
            Phase::Asking { age } => 1 + u64::from(age),
            Phase::Holding { left } => 1 + TIMES + u64::from(left),
            Phase::Extending { left, age } => 1 + 2 * TIMES + TIMES * u64::from(left) + u64::from(age),
        };
        4 * phase + 2 * u64::from(self.overtaken) + u64::from(self.reused)
    }
}

/// For example `A:2 A:1 - A HOLDS for 1, B asks since 0`: the nodes' keys with their remaining time, and the clients.
impl<const N: usize, const C: usize> fmt::Display for World<N, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for node in &self.nodes {
            let key = node.key.map_or("-".to_owned(), |Key { owner, left }| match owner {
                Owner::Client(client) => format!("{}:{left}", name(client)),
                Owner::Old => format!("old:{left}"),
                Owner::Away => format!("away:{left}"),
            });
            write!(f, "{key:7}")?;
        }
        let clients = self.clients.iter().enumerate().filter_map(|(client, Client { phase, .. })| match phase {
            Phase::Idle => None,
            Phase::Asking { age } => Some(format!("{} asks since {age}", name(client))),
            Phase::Holding { left } => Some(format!("{} HOLDS for {left}", name(client))),
            Phase::Extending { left: 0, age } => Some(format!("{} extends since {age}", name(client))),
            Phase::Extending { left, age } => Some(format!("{} HOLDS for {left}, extends since {age}", name(client))),
        });
        f.write_str(&clients.collect::<Vec<_>>().join("; "))
    }
}

/// Clients are A, B, C.
pub(crate) fn name(client: usize) -> char {
    (b'A' + client as u8).into()
}
