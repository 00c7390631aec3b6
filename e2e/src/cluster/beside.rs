//! [`figures`](super::figures) of our brokers beside Kafka's, in turn, each cluster in namespaces of its
//! own, and which targets are met.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};

use super::enter;
use super::figures::Act;

/// The sides: what is said of each to a run of one.
const SIDES: [&str; 2] = ["ottla,ottla,ottla", "kafka,kafka,kafka"];

/// The most seconds without an acknowledgement, with sessions of so many.
fn target(act: Act, session: f64) -> f64 {
    match act {
        Act::Kill => 1.0,
        Act::KillController | Act::HostGone | Act::ControllerHostGone => session + 1.0,
        Act::BounceController => 2.0,
        Act::Stop => 0.2,
    }
}

/// Runs both sides `times` in turn (A B, then B A) with `arguments` for each, by which `acts` are done and
/// sessions last `session` seconds; returns the table, and whether every target is met.
///
/// # Errors
/// When a run ends badly or does not tell a figure.
pub fn compare(
    acts: &[Act],
    times: usize,
    session: f64,
    arguments: &[OsString],
) -> Result<(String, bool)> {
    let mut seconds: HashMap<(String, usize), Vec<f64>> = HashMap::new();
    for number in 0..times {
        let order = if number % 2 == 0 { [0, 1] } else { [1, 0] };
        for side in order {
            println!("{} of {times}: {}", number + 1, SIDES[side]);
            let mut once = arguments.to_vec();
            once.extend(["--inside", "--figures=1", "--brokers", SIDES[side]].map(OsString::from));
            let (is_well, told) = enter::enter_and_read(&once)?;
            ensure!(is_well, "{}: {told}", SIDES[side]);
            for act in acts {
                let figure = told.lines().find_map(|line| read(line, *act));
                let figure = figure.with_context(|| format!("{act}: {told}"))?;
                seconds.entry((act.to_string(), side)).or_default().push(figure);
            }
        }
    }
    Ok(table(acts, &mut seconds, session))
}

/// The figure in a line of [`super::figures::gaps`], if it is of `act`.
fn read(line: &str, act: Act) -> Option<f64> {
    let (name, rest) = line.split_once(" median ")?;
    let figure = rest.split_whitespace().next()?;
    (name.trim_end() == act.to_string()).then(|| figure.parse().ok())?
}

fn table(
    acts: &[Act],
    seconds: &mut HashMap<(String, usize), Vec<f64>>,
    session: f64,
) -> (String, bool) {
    let mut text = format!(
        "seconds without an acknowledgement, sessions of {session} s: median (least to most)\n\n\
         | what happens | Ottla | Kafka | target |\n|---|---|---|---|\n",
    );
    let mut all_met = true;
    for &act in acts {
        let mut sides = [0, 1].map(|side| {
            let mut of = seconds.remove(&(act.to_string(), side)).unwrap_or_default();
            of.sort_by(f64::total_cmp);
            of
        });
        let ours = sides[0].get(sides[0].len() / 2).copied().unwrap_or(f64::INFINITY);
        let is_met = ours <= target(act, session);
        all_met &= is_met;
        let [ours, theirs] = sides.each_mut().map(|side| spread(side));
        let verdict = if is_met { "met" } else { "missed" };
        let bound = target(act, session);
        let _ = writeln!(text, "| {act} | {ours} | {theirs} | {bound} {verdict} |");
    }
    (text, all_met)
}

/// The median of what is sorted, and its ends.
fn spread(sorted: &[f64]) -> String {
    match sorted {
        [] => "none".to_owned(),
        [first, .., last] => {
            format!("{:.2} ({first:.2} to {last:.2})", sorted[sorted.len() / 2])
        }
        [only] => format!("{only:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::figures::ACTS;

    #[test]
    fn a_line_tells_the_figure_of_its_act_only() {
        let line = format!("{:36} median {:7.3} s  of [71.2ms]", Act::Kill, 0.0712);
        assert_eq!(read(&line, Act::Kill), Some(0.071));
        assert_eq!(read(&line, Act::KillController), None);
        assert_eq!(read("settled after 3 s", Act::Kill), None);
    }

    #[test]
    fn a_median_beyond_its_target_is_missed() {
        let mut seconds = HashMap::new();
        for act in ACTS {
            seconds.insert((act.to_string(), 0), vec![0.3, 0.1, 0.1]);
            seconds.insert((act.to_string(), 1), vec![9.0]);
        }
        let (text, all_met) = table(&ACTS, &mut seconds.clone(), 6.0);
        assert!(all_met, "{text}");
        assert!(text.contains("| 0.10 (0.10 to 0.30) | 9.00 | 0.2 met |"), "{text}");
        seconds.insert((Act::Stop.to_string(), 0), vec![0.1, 0.3, 0.3]);
        let (text, all_met) = table(&ACTS, &mut seconds, 6.0);
        assert!(!all_met && text.contains("0.2 missed"), "{text}");
    }
}
