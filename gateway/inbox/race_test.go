//go:build race

package inbox_test

func init() { raceDetector = true }
