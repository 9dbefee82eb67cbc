

# What the bench adds to the template's transform: e-mail trimmed and in small letters, phone as E.164.
def _cleaned(row):
    email, phone = row["email"], row["phone"]
    if email:
        row["email"] = email = email.strip().lower()
    if phone:
        row["phone"] = _e164(phone)
    return email


_KEPT = {code: None for code in range(128) if chr(code) not in "+0123456789"}


def _e164(phone):
    digits = phone.translate(_KEPT)
    if digits.startswith("+"):
        return digits
    return "+" + digits[2:] if digits.startswith("00") else "+33" + digits[1:]
