//! Server-sent events, as far as these servers use them: from bytes to the texts after `data:`.
//!
//! Pure. Each `data:` line is an event of its own, since every one of these servers sends one object a line and some leave out the
//! empty line that ends an event; nobody waits for it either. Takes any line end, a byte order mark, a missing space after the
//! colon; passes over comments (keep-alives) and other fields. A line may be [`LINE_MAX`] long.

/// Bytes of a line. A token takes some 300; a server that sends more is broken or means harm.
pub(super) const LINE_MAX: usize = 256 * 1024;

/// A line is longer than [`LINE_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LineTooLong;

#[derive(Debug, Default)]
pub(super) struct EventReader {
    /// The line that has not ended: at most [`LINE_MAX`].
    line: Vec<u8>,
    is_begun: bool,
}

impl EventReader {
    /// Takes what came; adds what lines it completes to `events`.
    pub fn push(&mut self, mut bytes: &[u8], events: &mut Vec<String>) -> Result<(), LineTooLong> {
        while let Some(at) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let (end, rest) = bytes.split_at(at);
            self.extend(end)?;
            events.extend(self.take());
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.extend(bytes)
    }

    /// The answer has ended; its last line may lack an end.
    pub fn finish(&mut self) -> Option<String> {
        self.take()
    }

    fn extend(&mut self, bytes: &[u8]) -> Result<(), LineTooLong> {
        if self.line.len() + bytes.len() > LINE_MAX {
            return Err(LineTooLong);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn take(&mut self) -> Option<String> {
        let mut line = self.line.as_slice();
        if !self.is_begun && !line.is_empty() {
            self.is_begun = true;
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        let data = line.strip_prefix(b"data:").map(|data| String::from_utf8_lossy(data).trim().to_owned());
        self.line.clear();
        data.filter(|data| !data.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parts: &[&[u8]]) -> Vec<String> {
        let (mut reader, mut events) = (EventReader::default(), Vec::new());
        for part in parts {
            assert_eq!(reader.push(part, &mut events), Ok(()));
        }
        events.extend(reader.finish());
        events
    }

    #[test]
    fn every_way_to_write_an_event_is_read() {
        for text in [
            "data: {\"a\":1}\n\ndata: [DONE]\n\n",
            "data:{\"a\":1}\r\n\r\ndata:[DONE]\r\n\r\n",
            "data: {\"a\":1}\r\rdata: [DONE]\r\r",
            "\u{feff}: ping\n\nid: 7\nevent: x\ndata: {\"a\":1}\n\n: ping\n\ndata: [DONE]",
            "data: {\"a\":1}\ndata: [DONE]\n",
            "retry: 3\ndata:\ndata: {\"a\":1}\n\nnonsense\n\ndata: [DONE]\n",
        ] {
            assert_eq!(read(&[text.as_bytes()]), ["{\"a\":1}", "[DONE]"], "{text:?}");
        }
    }

    #[test]
    fn where_packets_are_cut_changes_nothing() {
        let text = "data: {\"text\":\"你好，世界 🎉\"}\r\n\r\ndata: [DONE]\r\n\r\n".as_bytes();
        let whole = read(&[text]);
        assert_eq!(whole.len(), 2);
        for size in 1..text.len() {
            assert_eq!(read(&text.chunks(size).collect::<Vec<_>>()), whole, "in pieces of {size}");
        }
    }

    #[test]
    fn a_line_without_end_does_not_fill_the_memory() {
        let (mut reader, mut events) = (EventReader::default(), Vec::new());
        let chunk = [b'x'; 1024];
        let taken = (0..1024).take_while(|_| reader.push(&chunk, &mut events).is_ok()).count();
        assert_eq!(taken * 1024, LINE_MAX);
        assert!(reader.line.capacity() <= 2 * LINE_MAX);
    }

    #[test]
    fn broken_characters_are_replaced_and_the_rest_is_read() {
        assert_eq!(read(&[b"data: a\xffb\n"]), ["a\u{fffd}b"]);
    }
}
