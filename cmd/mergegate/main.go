// Command mergegate gives Bitbucket Cloud pull requests the answer of AppVeyor's pull request builds.
package main

func main() {}
