//! Who has hold of what: a fault has its target to itself.

use std::sync::atomic::{AtomicBool, Ordering};

/// One flag a target.
#[derive(Debug)]
pub struct Claims(Vec<AtomicBool>);

/// A target to oneself, until it is dropped.
#[derive(Debug)]
pub struct Claim<'a>(&'a AtomicBool);

impl Claims {
    /// None of `count` targets is claimed.
    pub fn new(count: usize) -> Self {
        Self((0..count).map(|_| AtomicBool::new(false)).collect())
    }

    /// Claims target `index`, unless another has it.
    pub fn claim(&self, index: usize) -> Option<Claim<'_>> {
        let flag = self.0.get(index)?;
        // Lazily: a claim that is made and dropped would set free what another has.
        (!flag.swap(true, Ordering::SeqCst)).then(|| Claim(flag))
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_holds_until_it_is_dropped_however_often_others_try() {
        let claims = Claims::new(2);
        let first = claims.claim(0);
        assert!(first.is_some());
        assert!(claims.claim(0).is_none());
        assert!(claims.claim(0).is_none(), "a refusal set it free");
        assert!(claims.claim(1).is_some());
        assert!(claims.claim(2).is_none(), "there is no such target");
        drop(first);
        assert!(claims.claim(0).is_some());
    }
}
