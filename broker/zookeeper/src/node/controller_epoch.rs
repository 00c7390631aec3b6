//! `/controller_epoch`: how many controllers there have been, in decimal text.

use super::NodeError;

/// Reads the node.
///
/// # Errors
/// When it is no number: a controller that began anew from 0 would be taken for an old one.
pub fn decode(path: &str, data: &[u8]) -> Result<i32, NodeError> {
    super::decode(path, "controller epoch", data)
}

/// Writes the node.
pub fn encode(epoch: i32) -> Vec<u8> {
    epoch.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number is bare; anything else is an error.
    #[test]
    fn an_epoch_is_a_bare_number() {
        assert_eq!(decode("/e", &encode(7)).unwrap(), 7);
        for text in ["", "x", "1.5", "99999999999"] {
            assert!(decode("/e", text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
