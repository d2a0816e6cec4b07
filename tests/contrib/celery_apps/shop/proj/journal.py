"""The shop's journal, in place of a database: a file of lines."""

import json
import os


def note(event, **facts):
    with open(os.environ["SHOP_DATA_FILE"], "a", encoding="utf-8") as file:
        file.write(json.dumps({"event": event, **facts}) + "\n")


def notes(event):
    with open(os.environ["SHOP_DATA_FILE"], encoding="utf-8") as file:
        return [fact for line in file if (fact := json.loads(line))["event"] == event]
