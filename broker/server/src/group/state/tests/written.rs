//! What members are told when the log does not take what they hand in.

use super::*;

#[test]
fn text_beside_an_offset_that_is_too_long_fails_alone() {
    let mut world = World::new();
    let limit = Limits::default().offset_metadata_max_bytes;
    let with = |size: usize| CommittedOffset { metadata: "m".repeat(size).into(), ..committed(5) };
    let offsets = vec![(partition("t"), with(limit)), (partition("u"), with(limit + 1))];
    let identity = identity(-1, "");
    let both = Commit { identity: identity.clone(), offsets };
    let results = codes(&[ErrorCode::None, ErrorCode::OffsetMetadataTooLarge]);
    assert_eq!(world.ask(Request::Commit(both)), results);
    assert_eq!(world.group().offsets().map(|(p, _)| &*p.topic).collect::<Vec<_>>(), ["t"]);

    let written = world.log.len();
    let alone = Commit { identity, offsets: vec![(partition("u"), with(limit + 1))] };
    let results = codes(&[ErrorCode::OffsetMetadataTooLarge]);
    assert_eq!(world.ask(Request::Commit(alone)), results);
    assert_eq!(world.log.len(), written);
}

/// Rows: what the log says, what one who commits is told, what one who syncs is told.
const FAILURES: [(ErrorCode, ErrorCode, ErrorCode); 4] = [
    (
        ErrorCode::NotEnoughReplicas,
        ErrorCode::CoordinatorNotAvailable,
        ErrorCode::CoordinatorNotAvailable,
    ),
    (ErrorCode::NotLeaderOrFollower, ErrorCode::NotCoordinator, ErrorCode::NotCoordinator),
    (
        ErrorCode::RequestTimedOut,
        ErrorCode::CoordinatorNotAvailable,
        ErrorCode::RebalanceInProgress,
    ),
    (ErrorCode::MessageTooLarge, ErrorCode::InvalidCommitOffsetSize, ErrorCode::UnknownServerError),
];

/// An offset that was not written stays what it was, and nothing is left under way.
#[test]
fn a_commit_that_is_not_written_changes_nothing() {
    for (failure, told, _) in FAILURES {
        let mut world = World::new();
        world.ask(commit(-1, "", 5));
        world.holds = true;
        let token = world.send(commit(-1, "", 6));
        let id = world.held.pop().expect("an append");
        world.apply(Event::Appended { id, result: Err(failure) });
        assert_eq!(world.taken(token), Some(codes(&[told])), "{failure:?}");
        let Reply::Offsets(offsets) = world.ask(fetch(true)) else { panic!("offsets") };
        let found = (offsets[0].error, offsets[0].committed.as_ref().map(|c| c.offset));
        assert_eq!(found, (ErrorCode::None, Some(5)), "{failure:?}");
    }
}

/// Without an assignment the members must join again.
#[test]
fn an_assignment_that_is_not_written_starts_the_rebalance_over() {
    for (failure, _, told) in FAILURES {
        let mut world = World::new();
        let tokens = ["a", "b"].map(|id| world.send(Request::Join(join("", id))));
        world.pass(Duration::from_secs(6));
        assert!(tokens.map(|token| world.joined(token).generation_id).iter().all(|it| *it == 1));
        world.holds = true;
        let syncs = [("b", &[][..]), ("a", &[("a", "x"), ("b", "y")])];
        let syncs = syncs.map(|(id, assignments)| world.send(sync(1, id, assignments)));
        let id = world.held.pop().expect("an append");
        world.apply(Event::Appended { id, result: Err(failure) });
        assert_eq!(syncs.map(|token| world.synced(token).error), [told; 2], "{failure:?}");
        let tokens = ["a", "b"].map(|id| world.send(Request::Join(join(id, ""))));
        assert_eq!(tokens.map(|token| world.joined(token).generation_id), [2, 2], "{failure:?}");
    }
}
