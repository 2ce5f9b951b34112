"""Registration systems: `model(fixed, moving)` returns a RegistrationOutput."""
