//! Which brokers hold a partition, at rest and while it moves.

use broker_protocol::quantity::BrokerId;

/// Which brokers hold a partition. `adding` and `removing` are parts of `replicas`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Assignment {
    /// All replicas, the preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// Those that a reassignment adds.
    pub adding: Vec<BrokerId>,
    /// Those that a reassignment removes.
    pub removing: Vec<BrokerId>,
}

impl Assignment {
    /// Makes an assignment that nothing moves in.
    pub fn settled(replicas: Vec<BrokerId>) -> Self {
        Self { replicas, adding: Vec::new(), removing: Vec::new() }
    }

    /// The replicas before the reassignment.
    pub(super) fn origin(&self) -> Vec<BrokerId> {
        without(&self.replicas, &self.adding)
    }

    /// The replicas after the reassignment.
    pub fn target(&self) -> Vec<BrokerId> {
        without(&self.replicas, &self.removing)
    }

    /// The assignment while a partition moves from where it was to `target`.
    pub(super) fn moving_to(&self, target: &[BrokerId]) -> Self {
        let origin = self.origin();
        let mut replicas = target.to_vec();
        replicas.extend(without(&origin, target));
        Self { adding: without(&replicas, &origin), removing: without(&replicas, target), replicas }
    }

    /// Whether a reassignment is under way.
    pub fn is_moving(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }
}

fn without(replicas: &[BrokerId], left_out: &[BrokerId]) -> Vec<BrokerId> {
    replicas.iter().copied().filter(|id| !left_out.contains(id)).collect()
}
