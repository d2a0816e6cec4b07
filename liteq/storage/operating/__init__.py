"""Acts of operators and of remote control: on one message or many, noted in the audit, told in alerts."""
