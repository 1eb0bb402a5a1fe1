//! The HAL's USART under the traits of embedded-io 0.7; the HAL has those of 0.6, and none to read with.

use embedded_io::{ErrorKind, ErrorType, Read, ReadReady, Write};
use stm32f4xx_hal::{
    nb,
    pac::USART2,
    prelude::{_embedded_hal_serial_nb_Read as NbRead, _embedded_hal_serial_nb_Write as NbWrite},
    serial::{RxISR as _, Serial as Usart},
};

/// The console's port.
pub struct Serial(pub Usart<USART2>);

impl ErrorType for Serial {
    type Error = ErrorKind;
}

impl ReadReady for Serial {
    fn read_ready(&mut self) -> Result<bool, ErrorKind> {
        Ok(self.0.is_rx_not_empty())
    }
}

impl Read for Serial {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ErrorKind> {
        let Some(first) = buffer.first_mut() else {
            return Ok(0);
        };
        *first = nb::block!(NbRead::read(&mut self.0)).map_err(|_| ErrorKind::Other)?;
        Ok(1)
    }
}

impl Write for Serial {
    fn write(&mut self, buffer: &[u8]) -> Result<usize, ErrorKind> {
        let Some(&first) = buffer.first() else {
            return Ok(0);
        };
        nb::block!(NbWrite::write(&mut self.0, first)).map_err(|_| ErrorKind::Other)?;
        Ok(1)
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        nb::block!(NbWrite::<u8>::flush(&mut self.0)).map_err(|_| ErrorKind::Other)
    }
}
