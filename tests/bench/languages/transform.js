
// What the bench adds to the template's transform: e-mail trimmed and in small letters, phone as E.164.
function cleaned(row) {
  row.email = row.email?.trim().toLowerCase() ?? null;
  row.phone = row.phone ? e164(row.phone) : null;
  return row.email;
}

function e164(phone) {
  // Spaces first: a regular expression is interpreted here, and most numbers need none after it.
  let digits = phone.replaceAll(' ', '');
  if (/[^0-9+]/.test(digits)) digits = digits.replace(/[^0-9+]/g, '');
  return digits.startsWith('+') ? digits : digits.startsWith('00') ? `+${digits.slice(2)}` : `+33${digits.slice(1)}`;
}
