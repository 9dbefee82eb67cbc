//! The imported interfaces, with the signatures of the generated bindings, over the state of [`super`].

pub(crate) mod runtime {
    use crate::bindings::imports::affluent::plugin::runtime::Level;
    use crate::testing::with_world;

    pub(crate) fn log(level: Level, message: &str, _fields: &[(String, String)]) {
        with_world(|world| world.logs.push((level, message.to_owned())));
    }

    pub(crate) fn progress(_done: u64, _total: Option<u64>, _note: Option<&str>) {}

    pub(crate) fn metric(_name: &str, _value: f64, _labels: &[(String, String)]) {}

    pub(crate) fn now_us() -> i64 {
        with_world(|world| world.now_us)
    }

    pub(crate) fn sleep_ms(ms: u32) {
        with_world(|world| {
            world.slept_ms += u64::from(ms);
            world.now_us += i64::from(ms) * 1_000;
        });
    }

    pub(crate) fn cancelled() -> bool {
        with_world(|world| world.is_cancelled)
    }

    /// Counts up, so that tests are repeatable.
    pub(crate) fn random_bytes(count: u32) -> Vec<u8> {
        with_world(|world| {
            let mut next = || {
                world.random = world.random.wrapping_add(1);
                world.random
            };
            (0..count).map(|_| next()).collect()
        })
    }
}

pub(crate) mod kv {
    use crate::testing::with_world;

    pub(crate) fn get(key: &str) -> Option<Vec<u8>> {
        with_world(|world| world.kv.get(key).cloned())
    }

    pub(crate) fn put(key: &str, value: &[u8]) -> Result<(), String> {
        with_world(|world| world.kv.insert(key.to_owned(), value.to_vec()));
        Ok(())
    }

    pub(crate) fn delete(key: &str) {
        with_world(|world| world.kv.remove(key));
    }
}

pub(crate) mod crypto {
    use crate::testing::with_world;

    pub(crate) fn hmac_sha256(secret: &str, data: &[u8]) -> Result<Vec<u8>, String> {
        with_world(|world| match &world.mac {
            Some(mac) => mac(secret, data),
            None => Err(format!("secret `{secret}` is not granted")),
        })
    }

    pub(crate) fn verify_hmac_sha256(secret: &str, data: &[u8], mac: &[u8]) -> Result<bool, String> {
        Ok(hmac_sha256(secret, data)? == mac)
    }
}

pub(crate) mod http {
    use std::cell::RefCell;

    use crate::bindings::imports::affluent::plugin::http::{HttpError, Request, Response, ResponseHead};
    use crate::testing::with_world;

    pub(crate) fn send(request: &Request) -> Result<Response, HttpError> {
        // Taken out during the call, so that the closure may use the rest of the world.
        let taken = with_world(|world| world.transport.take());
        let Some(mut transport) = taken else {
            return Err(HttpError::Denied("no transport is set: call testing::on_http".to_owned()));
        };
        let answer = transport(request);
        with_world(|world| {
            world.transport.get_or_insert(transport);
        });
        answer
    }

    pub(crate) fn send_all(requests: &[Request], _in_flight_max: u8) -> Vec<Result<Response, HttpError>> {
        requests.iter().map(send).collect()
    }

    #[derive(Debug)]
    pub(crate) struct Body {
        rest: RefCell<Vec<u8>>,
    }

    impl Body {
        pub(crate) fn read(&self, bytes_max: u32) -> Result<Option<Vec<u8>>, HttpError> {
            let mut rest = self.rest.borrow_mut();
            let count = rest.len().min(bytes_max as usize);
            let chunk: Vec<u8> = rest.drain(..count).collect();
            Ok(Some(chunk).filter(|chunk| !chunk.is_empty()))
        }
    }

    pub(crate) fn open(request: &Request) -> Result<(ResponseHead, Body), HttpError> {
        let Response { status, headers, body } = send(request)?;
        Ok((ResponseHead { status, headers }, Body { rest: RefCell::new(body) }))
    }
}

pub(crate) mod files {
    use std::cell::{Cell, RefCell};

    use crate::bindings::imports::affluent::plugin::files::Input;
    use crate::testing::{granted_inputs, with_world};

    pub(crate) fn inputs() -> Vec<Input> {
        granted_inputs()
    }

    #[derive(Debug)]
    pub(crate) struct Reader {
        name: String,
        place: Cell<u64>,
    }

    pub(crate) fn open_input(name: &str) -> Result<Reader, String> {
        if !with_world(|world| world.inputs.contains_key(name)) {
            return Err(format!("input `{name}` is not granted"));
        }
        Ok(Reader { name: name.to_owned(), place: Cell::new(0) })
    }

    impl Reader {
        pub(crate) fn read(&self, bytes_max: u32) -> Result<Option<Vec<u8>>, String> {
            let start = usize::try_from(self.place.get()).unwrap_or(usize::MAX);
            let chunk = with_world(|world| {
                let file = world.inputs.get(&self.name).ok_or("input is gone")?;
                let rest = file.bytes.get(start..).unwrap_or_default();
                let count = rest.len().min(bytes_max as usize);
                Ok::<_, String>(rest.get(..count).unwrap_or_default().to_vec())
            })?;
            self.place.set(self.place.get() + chunk.len() as u64);
            Ok(Some(chunk).filter(|chunk| !chunk.is_empty()))
        }

        pub(crate) fn seek(&self, offset: u64) -> Result<(), String> {
            self.place.set(offset);
            Ok(())
        }
    }

    #[derive(Debug)]
    pub(crate) struct Writer {
        name: String,
        data: RefCell<Vec<u8>>,
    }

    pub(crate) fn open_output(name: &str) -> Result<Writer, String> {
        Ok(Writer { name: name.to_owned(), data: RefCell::default() })
    }

    impl Writer {
        pub(crate) fn write(&self, data: &[u8]) -> Result<(), String> {
            self.data.borrow_mut().extend_from_slice(data);
            Ok(())
        }

        pub(crate) fn commit(&self) -> Result<(), String> {
            let data = self.data.take();
            with_world(|world| world.outputs.insert(self.name.clone(), data));
            Ok(())
        }
    }
}
