"""Records of the bench as JSON Lines: 12 fields (7 texts, 2 timestamps, 2 integers, 1 boolean), about 155 bytes of values each."""

import json
import random
import sys

count, out = int(sys.argv[1]), open(sys.argv[2], "w")
random.seed(7)
FIRST = ["Zoë", "Ann", "Léa", "Bob", "Jürgen", "Maria", "Ada", "Grace"]
LAST = ["Müller", "Martin", "Smith", "García", "Rossi", "Dubois", "Novák", "Jones"]
CITY = ["Lyon", "Köln", "Porto", "Oslo", "Málaga", "Gdańsk"]
for number in range(count):
    first, last = random.choice(FIRST), random.choice(LAST)
    instant = f"2026-{number % 12 + 1:02}-{number % 28 + 1:02}T{number % 24:02}:{number % 60:02}:00Z"
    record = {
        "id": number,
        "email": None if random.random() < 0.06 else f" {first}.{last}{number}@Example{number % 50}.org",
        "phone": None if random.random() < 0.06 else f"06 {number % 100:02} {number // 100 % 100:02} {number // 10000 % 100:02} 55",
        "first_name": first,
        "last_name": last,
        "city": random.choice(CITY),
        "country": "FR",
        "note": f"customer since {2010 + number % 16}, channel {number % 9}",
        "orders": number % 40,
        "accepts_marketing": number % 3 == 0,
        "created_at": instant,
        "updated_at": instant,
    }
    out.write(json.dumps(record, ensure_ascii=False) + "\n")
