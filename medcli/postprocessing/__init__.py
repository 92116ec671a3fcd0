"""What is done to predicted labels, class by class: chosen on the validation part, applied to every prediction."""
