//! Faults in a row that together hit what each alone leaves whole.

use std::time::Duration;

use anyhow::Result;

use super::{Outcome, RUNS_NOT, Strike, TAKEN};
use crate::cluster::network::both_ways;
use crate::cluster::node::Node;
use crate::cluster::view;
use crate::cluster::workload;
use crate::deadline::{self, Deadline};

/// How long a successor may take: the controller may have died, too.
const SUCCEEDS: Duration = Duration::from_secs(8);

impl Strike<'_> {
    /// The target dies while the two others do not reach each other. One of them is told to follow the
    /// other, whom it cannot copy from; then that one dies, too, before it takes the first out of any
    /// ISR, and the first has to go on with what it has: all that was acknowledged.
    pub(super) fn cascade(&self) -> Result<Outcome> {
        let others: Vec<usize> =
            (0..self.bed.nodes.len()).filter(|index| *index != self.target).collect();
        let [one, two] = others.as_slice() else {
            return Ok(Outcome::Nothing("there are not three brokers"));
        };
        // Whoever is hit by another fault already is left to it.
        let claims = (self.bed.claims.claim(*one), self.bed.claims.claim(*two));
        let (Some(_one), Some(_two)) = claims else { return Ok(TAKEN) };
        let controller = self.bed.ensemble.controller().ok().flatten();
        let nodes = &self.bed.nodes;
        // The controller tells itself, whatever is cut.
        let (last, successor) =
            if controller == Some(nodes[*two].id) { (two, one) } else { (one, two) };
        let (last, successor) = (&nodes[*last], &nodes[*successor]);
        let (here, there) = (last.server.host.address, successor.server.host.address);
        let cut = self.bed.network.cut(&both_ways(here, &[there]))?;
        let first = self.node();
        for node in [first, successor] {
            node.server.hold();
        }
        let killed = first.server.kill().and_then(|first_ran| {
            // Where the last one leads everything there is no successor to kill.
            let _ = Deadline::after(SUCCEEDS).poll("a successor", || Ok(follows(last, successor)));
            Ok(successor.server.kill()? && first_ran)
        });
        deadline::pass(self.time);
        let mended = self.mend(&cut);
        for node in [first, successor] {
            node.server.release();
        }
        mended?;
        let killed = killed?;
        self.wait_for_start();
        Ok(if killed { Outcome::Done } else { RUNS_NOT })
    }

    /// Cut off from its peers for longer than they may lag, and killed while it is.
    pub(super) fn forsake(&self) -> Result<Outcome> {
        let node = self.node();
        let peers = self.bed.peers_of(self.target);
        let cut = self.bed.network.cut(&both_ways(node.server.host.address, &peers))?;
        deadline::pass(self.time);
        node.server.hold();
        let killed = node.server.kill();
        let mended = self.mend(&cut);
        // Long enough for a successor.
        deadline::pass(Duration::from_secs(1));
        node.server.release();
        mended?;
        let killed = killed?;
        self.wait_for_start();
        Ok(if killed { Outcome::Done } else { RUNS_NOT })
    }
}

/// Whether `last` knows `successor` as the leader of most partitions.
fn follows(last: &Node, successor: &Node) -> Option<()> {
    let (seen, _) = view::ask(last.address(), &workload::names()).ok()?;
    let led = seen.values().filter(|one| one.leader == successor.id).count();
    // A third each before, none is led by the one that died after.
    let is_open = seen.values().any(|one| one.leader != successor.id && one.leader != last.id);
    (led > 0 && !is_open).then_some(())
}
