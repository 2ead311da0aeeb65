package inbox_test

const childEnv = "CIVGATE_INBOX_CHILD"

func runChild(string) int { return 0 }
