//! The wiring of `outriggerd`: the only place where its parts meet.
