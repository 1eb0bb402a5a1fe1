//! The queue between the receive interrupt of a serial port and the console.
//!
//! The interrupt handler owns the [`Producer`], the console owns the [`Consumer`]; neither ever waits for the other. The
//! queue is `heapless::spsc`. On top of it, this module defines two things:
//!
//! - Ctrl-C interrupts what the console is doing and drops everything received before it.
//! - A byte that finds the queue full is counted, and the console learns where in the input the gap is.

use core::sync::atomic::{AtomicU32, Ordering};

use heapless::spsc;

/// Interrupts the console: the byte that a terminal sends for Ctrl-C.
pub const CTRL_C: u8 = 0x03;

/// Marks a gap in the queue: bytes were lost there. ASCII's "substitute"; as input it would mean nothing, because the console
/// ignores control characters.
const GAP: u8 = 0x1a;

/// Memory for up to `N - 1` received bytes, one of which is reserved for Ctrl-C.
pub struct ReceiveBuffer<const N: usize> {
    queue: spsc::Queue<u8, N>,
    interrupts: AtomicU32,
    lost: AtomicU32,
}

/// An element of the queue, as the console sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// A byte.
    Byte(u8),
    /// Ctrl-C; everything received before it has been dropped.
    Interrupt,
    /// Bytes were lost here.
    Overrun {
        /// How many bytes have been lost since the start, modulo 2^32.
        total: u32,
    },
}

/// The console's side of its serial port.
pub trait Input {
    /// Waits for input. `None`: the input has ended, which a board's never does.
    fn read(&mut self) -> Option<Received>;

    /// Returns whether Ctrl-C was received since the last call or [`read`](Self::read). If so, drops all bytes received
    /// before it.
    fn take_interrupt(&mut self) -> bool;

    /// Returns whether [`take_interrupt`](Self::take_interrupt) would return true, and drops nothing.
    fn is_interrupted(&self) -> bool;
}

impl<const N: usize> ReceiveBuffer<N> {
    /// An empty buffer.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            queue: spsc::Queue::new(),
            interrupts: AtomicU32::new(0),
            lost: AtomicU32::new(0),
        }
    }

    /// The two ends: the first for the interrupt handler, the second for the console.
    pub fn split(&mut self) -> (Producer<'_>, Consumer<'_>) {
        let (sender, receiver) = self.queue.split();
        let producer = Producer {
            queue: sender,
            interrupts: &self.interrupts,
            lost: &self.lost,
            in_gap: false,
        };
        let consumer = Consumer {
            queue: receiver,
            interrupts: &self.interrupts,
            interrupts_seen: self.interrupts.load(Ordering::Relaxed),
            lost: &self.lost,
            lost_reported: self.lost.load(Ordering::Relaxed),
            gap_reported: false,
        };
        (producer, consumer)
    }
}

impl<const N: usize> Default for ReceiveBuffer<N> {
    fn default() -> Self {
        Self::new()
    }
}

/// The interrupt handler's end of a [`ReceiveBuffer`].
pub struct Producer<'b> {
    queue: spsc::Producer<'b, u8>,
    interrupts: &'b AtomicU32,
    lost: &'b AtomicU32,
    /// The bytes received last were lost, and the queue does not show it yet.
    in_gap: bool,
}

impl Producer<'_> {
    /// Puts a received byte into the queue, or counts it as lost if the queue is full.
    pub fn push(&mut self, byte: u8) {
        match byte {
            // A full queue ends with Ctrl-C, because other bytes leave its place free: another one would change nothing.
            CTRL_C => {
                if self.queue.enqueue(CTRL_C).is_ok() {
                    increment(self.interrupts);
                }
            }
            GAP => {}
            _ => {
                if self.in_gap {
                    self.in_gap = !self.enqueue(GAP);
                }
                if self.in_gap || !self.enqueue(byte) {
                    self.lose_byte();
                }
            }
        }
    }

    /// Counts a byte that the serial port itself has lost, by an overrun or a framing error.
    pub fn lose_byte(&mut self) {
        self.in_gap = true;
        increment(self.lost);
    }

    /// Appends `byte` unless only the place reserved for Ctrl-C is left. Returns whether it did.
    fn enqueue(&mut self, byte: u8) -> bool {
        self.queue.len() + 1 < self.queue.capacity() && self.queue.enqueue(byte).is_ok()
    }
}

/// The console's end of a [`ReceiveBuffer`].
pub struct Consumer<'b> {
    queue: spsc::Consumer<'b, u8>,
    interrupts: &'b AtomicU32,
    /// How many Ctrl-C have been taken out of the queue.
    interrupts_seen: u32,
    lost: &'b AtomicU32,
    lost_reported: u32,
    /// The gap that the next element of the queue marks has been reported already.
    gap_reported: bool,
}

impl Consumer<'_> {
    /// Takes the oldest element out of the queue; `None` if the queue is empty. Ctrl-C comes first wherever it is.
    pub fn pop(&mut self) -> Option<Received> {
        if self.take_interrupt() {
            return Some(Received::Interrupt);
        }
        loop {
            let byte = self.queue.dequeue();
            let gap_reported = core::mem::take(&mut self.gap_reported);
            match byte {
                Some(GAP) if gap_reported => {}
                Some(GAP) => return Some(self.report_overrun()),
                Some(CTRL_C) => {
                    self.interrupts_seen = self.interrupts_seen.wrapping_add(1);
                    return Some(Received::Interrupt);
                }
                Some(byte) => return Some(Received::Byte(byte)),
                // The bytes at the end of the input were lost: the mark comes with the next byte only.
                None if self.lost.load(Ordering::Acquire) != self.lost_reported => {
                    self.gap_reported = true;
                    return Some(self.report_overrun());
                }
                None => {
                    self.gap_reported = gap_reported;
                    return None;
                }
            }
        }
    }

    /// As [`Input::take_interrupt`].
    pub fn take_interrupt(&mut self) -> bool {
        let mut interrupted = false;
        while self.is_interrupted() {
            match self.queue.dequeue() {
                Some(CTRL_C) => {
                    self.interrupts_seen = self.interrupts_seen.wrapping_add(1);
                    interrupted = true;
                }
                Some(_) => self.gap_reported = false,
                None => break,
            }
        }
        interrupted
    }

    /// As [`Input::is_interrupted`].
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        let pending = self
            .interrupts
            .load(Ordering::Acquire)
            .wrapping_sub(self.interrupts_seen);
        // Never negative on a board; a producer on another thread may have appended Ctrl-C and not counted it yet.
        pending as i32 > 0
    }

    fn report_overrun(&mut self) -> Received {
        self.lost_reported = self.lost.load(Ordering::Acquire);
        let total = self.lost_reported;
        Received::Overrun { total }
    }
}

/// Adds 1 to a counter that nothing else writes: the smallest cores have no atomic addition.
fn increment(counter: &AtomicU32) {
    let value = counter.load(Ordering::Relaxed).wrapping_add(1);
    counter.store(value, Ordering::Release);
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::vec::Vec;

    fn bytes(consumer: &mut Consumer) -> Vec<Received> {
        core::iter::from_fn(|| consumer.pop()).collect()
    }

    fn typed(text: &str) -> Vec<Received> {
        text.bytes().map(Received::Byte).collect()
    }

    #[test]
    fn bytes_come_out_in_order_around_the_end_of_the_buffer() {
        let mut buffer = ReceiveBuffer::<8>::new();
        let (mut producer, mut consumer) = buffer.split();
        for text in ["abcd", "efgh", "ijklmn", "", "o"] {
            text.bytes().for_each(|byte| producer.push(byte));
            assert_eq!(bytes(&mut consumer), typed(text));
        }
    }

    #[test]
    fn lost_bytes_are_counted_and_reported_where_they_were() {
        let mut buffer = ReceiveBuffer::<6>::new();
        let (mut producer, mut consumer) = buffer.split();
        // Five places, one of them for Ctrl-C.
        b"abcdXYZ".iter().for_each(|&byte| producer.push(byte));
        assert_eq!(consumer.pop(), Some(Received::Byte(b'a')));
        assert_eq!(consumer.pop(), Some(Received::Byte(b'b')));
        b"ef".iter().for_each(|&byte| producer.push(byte));
        let mut expected = typed("cd");
        expected.push(Received::Overrun { total: 4 });
        expected.push(Received::Byte(b'e'));
        // After the mark, the queue had no place for the second byte.
        assert_eq!(bytes(&mut consumer)[..4], expected);
        assert_eq!(consumer.pop(), None);
    }

    #[test]
    fn loss_at_the_end_is_reported_once_and_without_another_byte() {
        let mut buffer = ReceiveBuffer::<4>::new();
        let (mut producer, mut consumer) = buffer.split();
        b"abXY".iter().for_each(|&byte| producer.push(byte));
        let mut expected = typed("ab");
        expected.push(Received::Overrun { total: 2 });
        assert_eq!(bytes(&mut consumer), expected);
        producer.push(b'c');
        assert_eq!(bytes(&mut consumer), typed("c"));
        producer.lose_byte();
        producer.push(b'd');
        let mut expected = [Received::Overrun { total: 3 }].to_vec();
        expected.push(Received::Byte(b'd'));
        assert_eq!(bytes(&mut consumer), expected);
    }

    #[test]
    fn ctrl_c_overtakes_and_drops_what_came_before() {
        let mut buffer = ReceiveBuffer::<16>::new();
        let (mut producer, mut consumer) = buffer.split();
        assert!(!consumer.take_interrupt());
        b"seed 3\rab\x03xy\x03info"
            .iter()
            .for_each(|&byte| producer.push(byte));
        assert!(consumer.take_interrupt());
        assert!(!consumer.take_interrupt());
        // Only the place reserved for Ctrl-C was left for the last bytes.
        let mut expected = typed("i");
        expected.push(Received::Overrun { total: 3 });
        assert_eq!(bytes(&mut consumer), expected);
        b"q\x03".iter().for_each(|&byte| producer.push(byte));
        assert_eq!(consumer.pop(), Some(Received::Interrupt));
        assert_eq!(consumer.pop(), None);
    }

    #[test]
    fn ctrl_c_finds_a_place_in_a_full_queue() {
        let mut buffer = ReceiveBuffer::<4>::new();
        let (mut producer, mut consumer) = buffer.split();
        b"abcdefgh\x03\x03\x03"
            .iter()
            .for_each(|&byte| producer.push(byte));
        assert!(consumer.take_interrupt());
        assert!(matches!(consumer.pop(), Some(Received::Overrun { .. })));
        assert_eq!(consumer.pop(), None);
    }

    /// Two threads and 1 MB; the consumer is slower at times. The bytes that are not lost arrive in order.
    #[test]
    fn a_producer_on_another_thread_is_followed() {
        let mut buffer = ReceiveBuffer::<64>::new();
        let (mut producer, mut consumer) = buffer.split();
        const COUNT: u32 = 1_000_000;
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for n in 0..COUNT {
                    producer.push(b'0' + (n % 64) as u8);
                    if n % 50 == 0 {
                        std::thread::yield_now();
                    }
                }
                // The end must not get lost: Ctrl-C always finds a place.
                producer.push(CTRL_C);
            });
            let (mut taken, mut lost, mut expected) = (0_u32, 0, Some(b'0'));
            let mut ended = false;
            loop {
                match consumer.pop() {
                    Some(Received::Byte(byte)) => {
                        if let Some(expected) = expected {
                            assert_eq!(byte, expected, "after {taken} bytes");
                        }
                        taken += 1;
                        expected = Some(b'0' + (byte - b'0' + 1) % 64);
                    }
                    Some(Received::Overrun { total }) => {
                        lost = total;
                        // After a gap, any byte may follow.
                        expected = None;
                    }
                    Some(Received::Interrupt) => ended = true,
                    None if ended => break,
                    None => std::thread::yield_now(),
                }
            }
            // Ctrl-C has dropped at most a full queue.
            assert!(
                taken + lost <= COUNT && COUNT - taken - lost < 64,
                "{taken}, {lost}"
            );
            assert!(taken > 1000, "{taken}");
        });
    }
}
