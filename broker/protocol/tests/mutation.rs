//! Damaged frames: decoding them never panics and never takes more memory than they justify.
//!
//! Method: draw a message of each API, kind and version, or take a request of a real client, damage
//! its bytes in one to eight places, decode, and ask the allocator what that took at its peak. Large
//! frames, whose sizes outweigh what every frame may take, come from a count that lies and bytes
//! for it to lie about. The test is alone in its binary, so that nothing else allocates meanwhile.
//! What still decodes must encode, and decode to the same.

use std::ops::RangeInclusive;

use broker_protocol::api_key::ApiKey;
use broker_protocol::message::Message;
use broker_protocol::primitive::{DecodeError, EncodeError, Reader, Writer};
use fastrand::Rng;
use peak_alloc::PeakAlloc;

mod support {
    pub(crate) mod captured;
    pub(crate) mod every_api;
}

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Frames in all: about 20 s unoptimised.
const FRAMES: usize = 1_000_000;

/// Large frames beside them, for each message and version.
const LARGE_ROUNDS: usize = 200;

/// The sizes of large frames: four bytes for each received are at least 16 times `SERVER_BASE`.
const LARGE: RangeInclusive<usize> = 256 * 1024..=1024 * 1024;

/// What `Reader::new`, and so the server, allows beside four bytes for each received.
const SERVER_BASE: usize = 64 * 1024;

/// The least that is tried beside four bytes for each received.
const SMALL_BASE: usize = 4096;

/// The seed of every draw: a failure names the round, and with it everything.
const SEED: u64 = 0x4b61_666b;

/// What decoding said, and the peak of memory it took.
type Measured = (Result<(), DecodeError>, usize);

/// The message in a frame, encoded again; `None` if the frame is refused.
type Again = Option<Result<Vec<u8>, EncodeError>>;

/// One request or response type.
struct Kind {
    name: &'static str,
    api: ApiKey,
    draw: fn(&mut Rng, i16) -> Vec<u8>,
    measure: fn(&[u8], i16, Option<usize>) -> Measured,
    again: fn(&[u8], i16) -> Again,
}

macro_rules! kinds {
    ($($api:ident $module:ident $request:ident $response:ident $(until $last:literal)?;)*) => {
        vec![$(
            kinds!(@one $api, $module, $request),
            kinds!(@one $api, $module, $response),
        )*]
    };
    (@one $api:ident, $module:ident, $name:ident) => {{
        use broker_protocol::message::$module::$name;

        Kind {
            name: stringify!($name),
            api: ApiKey::$api,
            draw: |rng, version| {
                encoded(&<$name as Message<'_>>::sample(rng, version), version).expect("a sample")
            },
            measure: |bytes, version, budget| {
                ALLOCATOR.reset_peak_usage();
                let before = ALLOCATOR.current_usage();
                let mut reader = match budget {
                    Some(budget) => Reader::with_budget(bytes, budget),
                    None => Reader::new(bytes),
                };
                let decoded = $name::decode(&mut reader, version);
                let growth = ALLOCATOR.peak_usage() - before;
                (decoded.map(drop), growth)
            },
            again: |bytes, version| {
                let decoded = $name::decode(&mut Reader::new(bytes), version).ok()?;
                Some(encoded(&decoded, version))
            },
        }
    }};
}

fn encoded<'a, M: Message<'a>>(message: &M, version: i16) -> Result<Vec<u8>, EncodeError> {
    let mut writer = Writer::new();
    message.encode(&mut writer, version)?;
    Ok(writer.into_parts().0.to_vec())
}

/// Damages bytes the ways that hurt decoders: bits, extremes in length fields, cuts, insertions.
fn damage(rng: &mut Rng, bytes: &mut Vec<u8>) {
    const EXTREMES: [&[u8]; 8] = [
        &[0x7f, 0xff, 0xff, 0xff],
        &[0xff, 0xff, 0xff, 0xff],
        &[0x80, 0x00, 0x00, 0x00],
        &[0x00, 0x00, 0x01, 0x00],
        &[0x7f, 0xff],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        &[0xff, 0x7f],
    ];
    for _ in 0..rng.usize(1..=8) {
        let at = rng.usize(..=bytes.len());
        match rng.u8(..6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(..8),
            1 if at < bytes.len() => bytes[at] = rng.u8(..),
            2 => {
                let extreme = EXTREMES[rng.usize(..EXTREMES.len())];
                let size = extreme.len().min(bytes.len() - at);
                bytes[at..at + size].copy_from_slice(&extreme[..size]);
            }
            3 if rng.u8(..4) == 0 => bytes.truncate(at),
            4 => bytes.insert(at, rng.u8(..)),
            5 => bytes.extend(std::iter::repeat_n(rng.u8(..3), rng.usize(..64))),
            _ => {}
        }
    }
}

fn every_kind() -> Vec<Kind> {
    support::every_api::every_api!(kinds)
}

/// Makes a large frame of a small one: some place of it becomes a count of up to the frame's size,
/// and after the frame come bytes that may pass for that many elements.
fn swell(rng: &mut Rng, bytes: &mut Vec<u8>, flexible: bool) {
    let size = rng.usize(LARGE);
    let count = (size >> rng.u8(..10)) as u32;
    let at = rng.usize(..=bytes.len());
    if flexible {
        let varint = [(count | 0x80) as u8, (count >> 7 | 0x80) as u8, (count >> 14) as u8];
        bytes.splice(at..bytes.len().min(at + 1), varint);
    } else {
        bytes.splice(at..bytes.len().min(at + 4), count.to_be_bytes());
    }
    // Zeroes and ones are empty where a length is due; the frame's own end may be whole elements.
    let unit = match rng.u8(..3) {
        fill @ (0 | 1) => vec![fill],
        _ => bytes[rng.usize(..bytes.len())..].to_vec(),
    };
    let missing = size.saturating_sub(bytes.len());
    bytes.extend(unit.repeat(missing.div_ceil(unit.len())));
}

/// Decodes as the server does, or with `SMALL_BASE` in place of its base, and holds the peak to
/// that; gives it back, and whether the frame was refused.
fn measured(kind: &Kind, bytes: &[u8], version: i16, servers: bool, round: &str) -> (bool, usize) {
    let bound = 4 * bytes.len() + if servers { SERVER_BASE } else { SMALL_BASE };
    let (decoded, growth) = (kind.measure)(bytes, version, (!servers).then_some(bound));
    let (name, size) = (kind.name, bytes.len());
    assert!(growth <= bound, "{name} version {version} {round}: {growth} bytes for {size}");
    (decoded.is_err(), growth)
}

/// What still decodes says the same when it is written and read again.
fn assert_again(kind: &Kind, bytes: &[u8], version: i16, round: &str) {
    let context = format!("{} version {version} {round}", kind.name);
    let Some(again) = (kind.again)(bytes, version) else { return };
    let once = again.expect(&context);
    let twice = (kind.again)(&once, version).map(|again| again.map_err(drop));
    assert!(twice == Some(Ok(once)), "{context}");
}

#[test]
fn damaged_frames_cost_no_more_than_they_are_worth() {
    let kinds = every_kind();
    let versions: Vec<(&Kind, i16)> = kinds
        .iter()
        .flat_map(|kind| kind.api.versions().map(move |version| (kind, version)))
        .collect();
    let captured = support::captured::captured();
    let captured: Vec<(&Kind, i16, &[u8])> = captured
        .iter()
        .filter_map(|one| {
            let request =
                |kind: &&Kind| kind.api as i16 == one.api_key && kind.name.ends_with("Request");
            Some((kinds.iter().find(request)?, one.version, one.body()))
        })
        .filter(|(kind, version, _)| kind.api.versions().any(|served| served == *version))
        .collect();
    println!("{} captured requests beside {} drawn kinds", captured.len(), versions.len());
    let (mut refused, mut growth_max) = (0, 0);
    for round in 0..FRAMES {
        let mut rng = Rng::with_seed(SEED + round as u64);
        // In turn: drawn and captured.
        let (kind, version, mut bytes) = if round % 2 == 0 {
            let (kind, version) = versions[round / 2 % versions.len()];
            (kind, version, (kind.draw)(&mut rng, version))
        } else {
            let (kind, version, body) = captured[round / 2 % captured.len()];
            (kind, version, body.to_vec())
        };
        damage(&mut rng, &mut bytes);

        let round = format!("round {round}");
        let (refusal, growth) = measured(kind, &bytes, version, rng.bool(), &round);
        growth_max = growth_max.max(growth);
        refused += usize::from(refusal);
        assert_again(kind, &bytes, version, &round);
    }
    // Neither may be a rarity, or the damage would test nothing.
    assert!(refused > FRAMES / 10 && refused < FRAMES * 9 / 10, "{refused} of {FRAMES} refused");
    assert!(growth_max > 0);
    large_frames_cost_no_more_than_four_times_their_size(&versions);
    counts_that_lie_allocate_nothing(&versions);
}

/// Where the base is a trifle, the factor holds, and is reached.
///
/// They are not written again: bytes beyond a message's end may have paid for what it says.
fn large_frames_cost_no_more_than_four_times_their_size(versions: &[(&Kind, i16)]) {
    let (mut dear, mut nearest) = (0, 0.0_f64);
    for (index, &(kind, version)) in versions.iter().enumerate() {
        for round in 0..LARGE_ROUNDS {
            let seed = SEED + (index * LARGE_ROUNDS + round) as u64;
            let mut rng = Rng::with_seed(seed);
            let mut bytes = (kind.draw)(&mut rng, version);
            swell(&mut rng, &mut bytes, kind.api.is_flexible(version));
            if rng.bool() {
                damage(&mut rng, &mut bytes);
            }
            let (_, growth) =
                measured(kind, &bytes, version, true, &format!("large round {round}"));
            let share = growth as f64 / (4 * bytes.len() + SERVER_BASE) as f64;
            dear += u32::from(growth > 2 * bytes.len());
            nearest = nearest.max(share);
        }
    }
    println!("{dear} large frames took more than twice their size, one {nearest:.3} of its bound");
    assert!(dear > 100 && nearest > 0.95, "{dear} took more than twice their size; {nearest:.3}");
}

/// A frame full of one byte makes every count as large as the byte can say.
fn counts_that_lie_allocate_nothing(versions: &[(&Kind, i16)]) {
    for &(kind, version) in versions {
        for fill in [0x00, 0x01, 0x02, 0x7f, 0x80, 0xff] {
            for size in [64, 4096, 1 << 20] {
                let bytes = vec![fill; size];
                for servers in [false, true] {
                    measured(kind, &bytes, version, servers, &format!("{size} of {fill}"));
                }
            }
        }
    }
}
