"""medcli takes medical images the whole way: prepared data, a trained model, honest measures, predictions."""

__version__ = "0.1.0"
