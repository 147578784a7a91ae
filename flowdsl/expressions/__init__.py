"""The two small languages of a flow: conditions and templates, over dotted paths and columns of JSON values."""
