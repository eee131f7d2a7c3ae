//! Free ports that remain reserved for a server, even while it is stopped.
//!
//! They are below the range from which the system takes the ports of outgoing connections: a client that keeps trying
//! to reach a stopped server must not get that server's port as its own. The same is true for the port over which
//! members of a cluster communicate, 10,000 above the first one. Blocks separate test processes: a process that holds
//! the first port of a block owns all of it.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, TcpListener},
    process,
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::{Result, bail};

const FIRST: u16 = 10_000;
const BLOCKS: u16 = 100;
const PER_BLOCK: u16 = 100;

static TAKEN: Mutex<Taken> = Mutex::new(Taken { blocks: Vec::new(), ports: BTreeSet::new(), cursor: 0 });

struct Taken {
    blocks: Vec<(TcpListener, u16)>,
    ports: BTreeSet<u16>,
    cursor: usize,
}

/// A port that nobody else uses until this is dropped.
#[derive(Debug)]
pub(super) struct Port(u16);

impl Port {
    /// Takes a free port. A returned port comes last again, because clients of the server that had it may still be
    /// trying to connect.
    pub(super) fn free() -> Result<Self> {
        let mut taken = taken();
        loop {
            let candidates: Vec<u16> =
                taken.blocks.iter().flat_map(|(_, first)| first + 1..first + PER_BLOCK).collect();
            let from_cursor = candidates.iter().enumerate().cycle().skip(taken.cursor).take(candidates.len());
            for (index, &port) in from_cursor {
                if !taken.ports.contains(&port) && listener(port).is_some() {
                    taken.ports.insert(port);
                    taken.cursor = index + 1;
                    return Ok(Self(port));
                }
            }
            taken.add_block()?;
        }
    }

    pub(super) fn number(&self) -> u16 {
        self.0
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        taken().ports.remove(&self.0);
    }
}

impl Taken {
    fn add_block(&mut self) -> Result<()> {
        let start = process::id() % u32::from(BLOCKS);
        for step in 0..u32::from(BLOCKS) {
            let block = u16::try_from((start + step) % u32::from(BLOCKS))?;
            let first = FIRST + block * PER_BLOCK;
            if let Some(guard) = listener(first) {
                self.blocks.push((guard, first));
                return Ok(());
            }
        }
        bail!("no free ports between {FIRST} and {}", FIRST + BLOCKS * PER_BLOCK)
    }
}

fn listener(port: u16) -> Option<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()
}

fn taken() -> MutexGuard<'static, Taken> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_distinct_and_below_the_outgoing_range() {
        let ports: Vec<_> = (0..150).map(|_| Port::free().unwrap()).collect();
        let numbers: BTreeSet<_> = ports.iter().map(Port::number).collect();
        assert_eq!(numbers.len(), ports.len());
        let of_members: BTreeSet<_> = numbers.iter().map(|number| number + 10_000).collect();
        assert!(of_members.iter().all(|&number| (FIRST + BLOCKS * PER_BLOCK..32_768).contains(&number)));
    }
}
