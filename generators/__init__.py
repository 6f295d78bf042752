"""The wing that makes: models that generate pictures, which leave marked."""
