"""Analysis: what tables say, drawn and tested. Reads tables; knows nothing of how they are made."""
