//! What answers mean, and brokers that give none.

use broker_admin::v1::Setting;

use super::*;

fn blocked(partition: i32) -> BlockedPartition {
    BlockedPartition {
        topic: "t".to_owned(),
        partition,
        replicas: vec![1, 2],
        in_sync: vec![1],
        min_in_sync: 2,
    }
}

/// A refusal names partitions; it is for ever only where nothing else stands in the way.
#[test]
fn an_answer_is_a_verdict() {
    let granted = AcquireRestartPermitResponse { granted: true, ..Default::default() };
    assert_eq!(verdict(granted), Verdict::Granted { still_led: None });
    let refused = |refusal: Refusal, falls: u32, anyway: u32| AcquireRestartPermitResponse {
        refusal: refusal.into(),
        message: "why".to_owned(),
        blocked: (0..falls as i32).map(blocked).collect(),
        unavoidable: (0..anyway as i32).map(blocked).collect(),
        blocked_total: falls,
        unavoidable_total: anyway,
        ..Default::default()
    };
    let cases = [
        (refused(Refusal::MinIsr, 0, 2), true),
        (refused(Refusal::MinIsr, 1, 2), false),
        (refused(Refusal::Held, 0, 0), false),
        (refused(Refusal::NewController, 0, 0), false),
    ];
    for (answer, expected) in cases {
        let named = answer.blocked.len() + answer.unavoidable.len();
        let Verdict::Refused { message, partitions, is_for_ever, .. } = verdict(answer) else {
            panic!("it was refused")
        };
        assert_eq!((&*message, partitions.len(), is_for_ever), ("why", named, expected));
        let all = partitions
            .iter()
            .all(|one| one.ends_with("(on brokers 1,2, in sync 1, min.insync.replicas 2)"));
        assert!(all, "{partitions:?}");
    }
}

#[test]
fn settings_say_what_a_change_takes() {
    let setting = |name: &str, change: ChangeCode| Setting {
        name: name.to_owned(),
        change: change.into(),
        ..Default::default()
    };
    let settings = DescribeSettingsResponse {
        broker: vec![
            setting("a", ChangeCode::Restart),
            setting("b", ChangeCode::DynamicCluster),
            setting("c", ChangeCode::DynamicPerBroker),
            setting("d", ChangeCode::Unspecified),
        ],
        topic: Vec::new(),
    };
    let expected = [
        ("a", Change::Restart),
        ("b", Change::Cluster),
        ("c", Change::PerBroker),
        ("d", Change::Restart),
    ];
    assert_eq!(schema(&settings), expected.into());
}
