//! A golden bad history for each rule, the smallest there is, and one that nearly breaks it.

use anyhow::Result;

use super::{Checker, Rule};
use crate::cluster::history::Event;

/// The rules that a history breaks, each once; lines without the time and with it are the same.
fn broken(lines: &str) -> Result<Vec<Rule>> {
    let mut checker = Checker::default();
    let lines = lines.lines().map(str::trim_start).filter(|line| !line.is_empty());
    for (at, line) in lines.enumerate() {
        checker.observe(&format!("{at} {line}").parse::<Event>()?);
    }
    checker.finish();
    Ok(checker.counts().keys().copied().collect())
}

/// A rule, a history that breaks it and it alone, and one that does not.
struct Golden {
    rule: Rule,
    bad: &'static str,
    near_miss: &'static str,
}

const GOLDEN: [Golden; 14] = [
    Golden {
        rule: Rule::InconsistentOffsets,
        bad: "1 send 0/0 1:0+1
              2 send 0/0 2:0+1
              9 poll 0/0 1 0=1:0+1
              8 poll 0/0 1 0=2:0+1",
        near_miss: "1 send 0/0 1:0+1
                    2 send 0/1 2:0+1
                    9 poll 0/0 1 0=1:0+1
                    8 poll 0/1 1 0=2:0+1",
    },
    Golden {
        rule: Rule::Duplicate,
        bad: "1 send 0/0 1:0+1
              9 poll 0/0 2 0=1:0+1,1=1:0+1",
        near_miss: "1 send 0/0 1:0+1
                    9 poll 0/0 1 0=1:0+1
                    9 seek 0/0
                    9 poll 0/0 1 0=1:0+1",
    },
    Golden {
        rule: Rule::LostWrite,
        bad: "1 send 0/0 1:0+1
              1 sent 0/0 1:0+1 0
              2 send 0/0 2:0+1
              9 seek 0/0
              9 poll 0/0 2 1=2:0+1",
        // Nobody was promised the first.
        near_miss: "1 send 0/0 1:0+1
                    2 send 0/0 2:0+1
                    9 seek 0/0
                    9 poll 0/0 2 1=2:0+1",
    },
    Golden {
        rule: Rule::Unseen,
        bad: "1 send 0/0 1:0+2
              1 sent 0/0 1:0+2 0
              9 poll 0/0 1 0=1:0+1",
        near_miss: "1 send 0/0 1:0+2
                    1 sent 0/0 1:0+2 0
                    9 poll 0/0 1 0=1:0+1
                    9 poll 0/0 2 1=1:1+1",
    },
    Golden {
        rule: Rule::PollSkip,
        bad: "1 send 0/0 1:0+3
              9 poll 0/0 1 0=1:0+1
              9 poll 0/0 3 2=1:2+1
              8 poll 0/0 3 0=1:0+3",
        // Nothing was ever seen between them: a gap in the offsets.
        near_miss: "1 send 0/0 1:0+3
                    9 poll 0/0 1 0=1:0+1
                    9 poll 0/0 3 2=1:2+1",
    },
    Golden {
        rule: Rule::NonmonotonicPoll,
        bad: "1 send 0/0 1:0+2
              9 poll 0/0 2 0=1:0+2
              9 poll 0/0 1 0=1:0+1",
        near_miss: "1 send 0/0 1:0+2
                    9 poll 0/0 2 0=1:0+2
                    9 seek 0/0
                    9 poll 0/0 1 0=1:0+1",
    },
    Golden {
        rule: Rule::NonmonotonicSend,
        bad: "1 send 0/0 1:0+1
              1 send 0/0 1:1+1
              9 poll 0/0 2 0=1:1+1,1=1:0+1",
        // Writers owe each other no order.
        near_miss: "1 send 0/0 1:0+1
                    2 send 0/0 2:0+1
                    9 poll 0/0 2 0=2:0+1,1=1:0+1",
    },
    Golden {
        rule: Rule::Phantom,
        bad: "1 send 0/0 1:0+1
              9 poll 0/0 1 0=1:1+1",
        near_miss: "1 send 0/0 1:0+2
                    9 poll 0/0 1 0=1:1+1",
    },
    Golden {
        rule: Rule::RefusedRead,
        bad: "1 send 0/0 1:0+1
              1 refused 0/0 1:0+1
              9 poll 0/0 1 0=1:0+1",
        near_miss: "1 send 0/0 1:0+1
                    1 refused 0/0 1:0+1
                    2 send 0/0 2:0+1
                    9 poll 0/0 1 0=2:0+1",
    },
    Golden {
        rule: Rule::OffsetKnownBefore,
        // Nothing was seen at 0 itself, so that no other rule is broken.
        bad: "1 send 0/0 1:0+1
              1 sent 0/0 1:0+1 1
              2 send 0/0 2:0+1
              2 sent 0/0 2:0+1 0
              9 poll 0/0 2 0=2:0+1,1=1:0+1",
        // The second was on its way before the first was known.
        near_miss: "1 send 0/0 1:0+1
                    2 send 0/0 2:0+1
                    1 sent 0/0 1:0+1 1
                    2 sent 0/0 2:0+1 0
                    9 poll 0/0 2 0=2:0+1,1=1:0+1",
    },
    Golden {
        rule: Rule::CommitRegression,
        bad: "4 commit 0 -1 0/0 5
              4 committed 0 -1 0/0 5
              5 ask 0 0/0
              5 told 0 0/0 -1",
        // It asked before the commit was accepted.
        near_miss: "4 commit 0 -1 0/0 5
                    5 ask 0 0/0
                    4 committed 0 -1 0/0 5
                    5 told 0 0/0 -1",
    },
    Golden {
        rule: Rule::CommitPhantom,
        bad: "4 commit 0 -1 0/0 5
              5 ask 0 0/0
              5 told 0 0/0 6",
        // Nobody answered the commit, which may have been made.
        near_miss: "4 commit 0 -1 0/0 5
                    5 ask 0 0/0
                    5 told 0 0/0 5",
    },
    Golden {
        rule: Rule::DoubleOwner,
        bad: "4 owns 0 3 0/0,0/1
              5 owns 0 3 0/1",
        near_miss: "4 owns 0 3 0/0,0/1
                    5 owns 0 4 0/1",
    },
    Golden {
        rule: Rule::StaleCommit,
        bad: "4 owns 0 3 0/0
              5 owns 0 4 0/0
              4 commit 0 3 0/0 7
              4 committed 0 3 0/0 7",
        // It was on its way before the generation had begun.
        near_miss: "4 owns 0 3 0/0
                    4 commit 0 3 0/0 7
                    5 owns 0 4 0/0
                    4 committed 0 3 0/0 7",
    },
];

#[test]
fn the_smallest_bad_history_of_each_rule_is_found_and_breaks_no_other() -> Result<()> {
    for Golden { rule, bad, .. } in GOLDEN {
        assert_eq!(broken(bad)?, [rule], "{rule}");
    }
    Ok(())
}

#[test]
fn a_history_that_nearly_breaks_a_rule_breaks_none() -> Result<()> {
    for Golden { rule, near_miss, .. } in GOLDEN {
        assert_eq!(broken(near_miss)?, [], "{rule}");
    }
    Ok(())
}

/// Histories about one rule more than its golden pair: what they show, and what they break.
const JUDGED: [(&str, &str, &[Rule]); 12] = [
    (
        "a member that goes on where it was told to",
        "1 send 0/0 1:0+3
         9 poll 0/0 3 0=1:0+3
         4 commit 0 3 0/0 1
         5 peek 0 0/0
         5 told 0 0/0 1
         5 seek 0/0
         5 poll 0/0 1 
         5 poll 0/0 3 1=1:1+2",
        &[],
    ),
    (
        "one that leaves out what comes next",
        "1 send 0/0 1:0+3
         9 poll 0/0 3 0=1:0+3
         4 commit 0 3 0/0 1
         5 peek 0 0/0
         5 told 0 0/0 1
         5 seek 0/0
         5 poll 0/0 1 
         5 poll 0/0 3 2=1:2+1",
        &[Rule::PollSkip],
    ),
    (
        "a last reading of all that is known, though not of what nobody was promised",
        "1 send 0/0 1:0+3
         1 sent 0/0 1:0+2 0
         9 poll 0/0 2 0=1:0+2
         8 audit 0/0
         8 poll 0/0 1 0=1:0+1
         8 poll 0/0 2 1=1:1+1
         8 audited 0/0",
        &[],
    ),
    (
        "one that lacks the beginning, which was read before",
        "1 send 0/0 1:0+2
         1 sent 0/0 1:0+2 0
         9 poll 0/0 2 0=1:0+2
         8 audit 0/0
         8 poll 0/0 2 1=1:1+1
         8 audited 0/0",
        &[Rule::PollSkip],
    ),
    (
        "one that lacks the end, which was read before",
        "1 send 0/0 1:0+2
         1 sent 0/0 1:0+2 0
         9 poll 0/0 2 0=1:0+2
         8 audit 0/0
         8 poll 0/0 1 0=1:0+1
         8 audited 0/0",
        &[Rule::Unseen],
    ),
    (
        "one that finds nothing at all",
        "1 send 0/0 1:0+2
         1 sent 0/0 1:0+2 0
         9 poll 0/0 2 0=1:0+2
         8 audit 0/0
         8 audited 0/0",
        &[Rule::Unseen],
    ),
    (
        "one that comes to no end",
        "1 send 0/0 1:0+1
         9 poll 0/0 1 0=1:0+1
         8 audit 0/0
         8 poll 0/0 1 0=1:0+1",
        &[Rule::Unseen],
    ),
    (
        "a commit that nobody answered may be carried out late",
        "4 commit 0 -1 0/0 5
         4 commit 0 -1 0/0 6
         4 committed 0 -1 0/0 6
         5 ask 0 0/0
         5 told 0 0/0 5",
        &[],
    ),
    (
        "one that was answered may not",
        "4 commit 0 -1 0/0 5
         4 committed 0 -1 0/0 5
         4 commit 0 -1 0/0 6
         4 committed 0 -1 0/0 6
         5 ask 0 0/0
         5 told 0 0/0 5",
        &[Rule::CommitRegression],
    ),
    (
        "who is no member may be told what was true since the last rest",
        "4 commit 0 -1 0/0 5
         4 committed 0 -1 0/0 5
         0 rest -
         4 commit 0 -1 0/0 6
         4 committed 0 -1 0/0 6
         5 peek 0 0/0
         5 told 0 0/0 5",
        &[],
    ),
    (
        "but not what was true before it",
        "4 commit 0 -1 0/0 5
         4 committed 0 -1 0/0 5
         4 commit 0 -1 0/0 6
         4 committed 0 -1 0/0 6
         0 rest -
         5 peek 0 0/0
         5 told 0 0/0 5",
        &[Rule::CommitRegression],
    ),
    (
        "what the harness itself found is counted",
        "0 wrong unavailable partition 0/1 for 31 s",
        &[Rule::Unavailable],
    ),
];

#[test]
fn histories_beside_the_golden_ones_break_what_they_should() -> Result<()> {
    for (name, history, expected) in JUDGED {
        assert_eq!(broken(history)?, expected, "{name}");
    }
    Ok(())
}

#[test]
fn an_offset_that_cannot_be_is_a_finding_and_no_end_of_the_harness() -> Result<()> {
    for offset in ["-7", "9223372036854775000"] {
        let sent = format!("1 send 0/0 1:0+1\n1 sent 0/0 1:0+1 {offset}");
        assert!(broken(&sent)?.contains(&Rule::UnexpectedAnswer), "{offset}");
    }
    Ok(())
}

#[test]
fn a_million_records_are_judged_in_little_room() -> Result<()> {
    let mut checker = Checker::default();
    let mut observe = |line: String| -> Result<()> {
        checker.observe(&line.parse::<Event>()?);
        Ok(())
    };
    for batch in 0..10_000_u32 {
        let (first, offset) = (batch * 100, batch * 100);
        observe(format!("{batch} 1 send 0/0 1:{first}+100"))?;
        observe(format!("{batch} 1 sent 0/0 1:{first}+100 {offset}"))?;
        observe(format!("{batch} 9 poll 0/0 {} {offset}=1:{first}+100", offset + 100))?;
    }
    assert_eq!(checker.finish(), []);
    assert_eq!(checker.verified(), 1_000_000);
    Ok(())
}
