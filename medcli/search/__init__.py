"""`medcli search`: settings of network and training, chosen by the validation part within a stated time."""
