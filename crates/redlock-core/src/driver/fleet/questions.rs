//! Read-only requests to one node: the holder of a key, a list of its keys, and its facts.

use super::Fleet;
use crate::{
    algorithm::NodeFacts,
    names::{Resource, Resources, Token},
    node::{DescribeRequest, InspectAnswer, InspectRequest, ListAnswer, ListRequest, NodeError, NodeErrorKind},
    report::NodeRequest,
};

/// A name that is never locked. A user that may run scripts on its key, with the key prefix, may also run those of
/// locks.
const PROBE: &str = "redlock:check_nodes";

impl Fleet {
    /// Asks one node for one key, and for this token if readers share it.
    ///
    /// The answer does not count as a failure of the node: a read-only replica can be inspected, and some backends
    /// cannot.
    #[expect(clippy::indexing_slicing, reason = "requests go over the members")]
    pub(crate) async fn look(
        &self,
        member: usize,
        key: &Resource,
        token: Option<Token>,
    ) -> Result<InspectAnswer, NodeError> {
        let member = &self.members[member];
        member.admit()?;
        let request = InspectRequest { token, ..InspectRequest::new(key.clone()) };
        self.call(member, NodeRequest::Inspect, member.node.inspect(&request)).await
    }

    /// An unused key that a user may access if the user may access the keys of locks.
    pub(crate) fn probe(&self) -> Option<Resource> {
        let probe = Resources::from(Resource::new(PROBE).ok()?);
        // A prefix that leaves no room for it is a key itself.
        let key = self.keys(&probe).map(|keys| keys.first().clone());
        key.or_else(|_| Resource::new(&self.key_prefix)).ok()
    }

    /// Queries one node for its facts. The answer does not count as a failure of the node: some backends cannot answer.
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

    /// Queries one node for its keys. As with [`Fleet::describe`], the answer does not count as a failure of the node.
    #[expect(clippy::indexing_slicing, reason = "requests go over the members")]
    pub(crate) async fn list(&self, member: usize, request: &ListRequest) -> Result<ListAnswer, NodeError> {
        let member = &self.members[member];
        member.admit()?;
        member.node.list(request).await
    }
}
