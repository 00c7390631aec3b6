//! Damaged frames: decoding them never panics and never takes more memory than they justify.
//!
//! Method: draw a message of each API, kind and version, or take a request of a real client, damage
//! its bytes in one to eight places, decode, and ask the allocator what that took at its peak. The test
//! is alone in its binary, so that nothing else allocates meanwhile. What still decodes must encode, and decode to the same.

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

/// What `Reader::new`, and so the server, allows beside four bytes for each received.
const SERVER_BASE: usize = 64 * 1024;

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
    ($($api:ident $module:ident $request:ident $response:ident;)*) => {
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

        let context = format!("{} version {version} round {round}", kind.name);
        let servers = rng.bool();
        let bound = 4 * bytes.len() + if servers { SERVER_BASE } else { 4096 };
        let budget = (!servers).then_some(bound);
        let (decoded, growth) = (kind.measure)(&bytes, version, budget);
        assert!(growth <= bound, "{context}: {growth} bytes for {} received", bytes.len());
        growth_max = growth_max.max(growth);
        if decoded.is_err() {
            refused += 1;
        }
        let Some(again) = (kind.again)(&bytes, version) else { continue };
        let once = again.unwrap_or_else(|error| panic!("{context}: {error}"));
        let twice = (kind.again)(&once, version).map(|again| again.map_err(drop));
        assert_eq!(twice, Some(Ok(once)), "{context}");
    }
    // Neither may be a rarity, or the damage would test nothing.
    assert!(refused > FRAMES / 10 && refused < FRAMES * 9 / 10, "{refused} of {FRAMES} refused");
    assert!(growth_max > 0);
    counts_that_lie_allocate_nothing(&versions);
}

/// A frame full of one byte makes every count as large as the byte can say.
fn counts_that_lie_allocate_nothing(versions: &[(&Kind, i16)]) {
    for &(kind, version) in versions {
        for fill in [0x00, 0x01, 0x02, 0x7f, 0x80, 0xff] {
            for size in [64, 4096, 1 << 20] {
                let bytes = vec![fill; size];
                let bound = 4 * size + 4096;
                let (_, growth) = (kind.measure)(&bytes, version, Some(bound));
                assert!(
                    growth <= bound,
                    "{} version {version}: {growth} bytes for {size} of {fill}",
                    kind.name
                );
            }
        }
    }
}
