//! Asks one node what changes nothing: who holds a key, which keys there are, and what the node is.

use super::Fleet;
use crate::{
    algorithm::NodeFacts,
    names::{Resource, Resources},
    node::{DescribeRequest, InspectAnswer, InspectRequest, ListAnswer, ListRequest, NodeError, NodeErrorKind},
    report::NodeRequest,
};

/// The name that nobody locks, behind the key prefix: what runs scripts on it runs those of locks.
const PROBE: &str = "redlock:check_nodes";

impl Fleet {
    /// Asks one node for one key.
    ///
    /// It says nothing on whether the node fails: a read-only replica can be looked at, and some backends cannot look.
    #[expect(clippy::indexing_slicing, reason = "requests go over the members")]
    pub(crate) async fn look(&self, member: usize, key: &Resource) -> Result<InspectAnswer, NodeError> {
        let member = &self.members[member];
        member.admit()?;
        let request = InspectRequest::new(key.clone());
        self.call(member, NodeRequest::Inspect, member.node.inspect(&request)).await
    }

    /// A key that nobody uses, and that users may use who may use the locks' keys.
    pub(crate) fn probe(&self) -> Option<Resource> {
        let probe = Resources::from(Resource::new(PROBE).ok()?);
        // A prefix that leaves no room for it is a key itself.
        let key = self.keys(&probe).map(|keys| keys.first().clone());
        key.or_else(|_| Resource::new(&self.key_prefix)).ok()
    }

    /// Asks one node what it is. It says nothing on whether the node fails: some backends cannot tell.
    #[expect(clippy::indexing_slicing, reason = "requests go over the members")]
    pub(crate) async fn describe(
        &self,
        member: usize,
        request: Option<DescribeRequest>,
    ) -> Result<NodeFacts, NodeError> {
        let member = &self.members[member];
        member.admit()?;
        let Some(request) = request else { return Err(NodeErrorKind::Unsupported.into()) };
        member.node.describe(&request).await
    }

    /// Asks one node which keys it has. As [`Fleet::describe`], it says nothing on whether the node fails.
    #[expect(clippy::indexing_slicing, reason = "requests go over the members")]
    pub(crate) async fn list(&self, member: usize, request: &ListRequest) -> Result<ListAnswer, NodeError> {
        let member = &self.members[member];
        member.admit()?;
        member.node.list(request).await
    }
}
